//! Embeddings: every input shape, both encodings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::World;

async fn embed(world: &World, input: Value, members: Value) -> Value {
    let mut body = json!({"model": "demo", "input": input});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let (status, answer) = world.post("/v1/embeddings", &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("demo")));
    answer
}

#[tokio::test]
async fn each_input_shape_gets_a_vector_per_text() {
    let world = World::demo().await;
    for (input, texts, tokens) in [
        (json!("abcdefgh"), 1, 2),
        (json!(["abcdefgh", "b"]), 2, 3),
        (json!([1, 2, 3]), 1, 3),
        (json!([[1, 2], [3], []]), 3, 3),
    ] {
        let answer = embed(&world, input, json!({})).await;
        let data = answer["data"].as_array().unwrap();
        assert_eq!(data.len(), texts);
        for (index, entry) in data.iter().enumerate() {
            assert_eq!((&entry["object"], &entry["index"]), (&json!("embedding"), &json!(index)));
            assert_eq!(entry["embedding"].as_array().unwrap().len(), 64);
        }
        assert_eq!(answer["usage"], json!({"prompt_tokens": tokens, "total_tokens": tokens}));
    }
}

#[tokio::test]
async fn a_text_has_the_same_vector_alone_and_in_a_batch() {
    let world = World::demo().await;
    let alone = embed(&world, json!("b"), json!({})).await;
    let batch = embed(&world, json!(["a", "b"]), json!({})).await;
    assert_eq!(alone["data"][0]["embedding"], batch["data"][1]["embedding"]);
    assert_ne!(alone["data"][0]["embedding"], batch["data"][0]["embedding"]);
}

#[tokio::test]
async fn base64_holds_the_same_numbers() {
    let world = World::demo().await;
    let plain = embed(&world, json!("a"), json!({"dimensions": 7})).await;
    let packed = embed(&world, json!("a"), json!({"dimensions": 7, "encoding_format": "base64"})).await;
    let bytes = STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let unpacked: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
    let plain: Vec<f32> = serde_json::from_value(plain["data"][0]["embedding"].clone()).unwrap();
    assert_eq!((plain.len(), &plain), (7, &unpacked));
}
