//! Streamed answers: which events come, and in which order.

use serde_json::{Value, json};

use crate::world::{World, chat_stream, events};

async fn stream(path: &str, body: &Value) -> Vec<Value> {
    let world = World::demo().await;
    let answer = events(world.client().await.post(path, body).await).await;
    let stats = world.sim.wait_until(|stats| stats.in_flight == 0).await;
    // Seen to fail: when a body that ended does not say that its work is finished.
    assert_eq!((stats.finished, stats.cancelled), (1, 0));
    answer
}

#[tokio::test]
async fn a_chat_stream_opens_with_the_role_and_closes_with_the_reason() {
    let events = stream("/v1/chat/completions", &chat_stream(json!({"max_tokens": 3}))).await;
    assert_eq!(events.len(), 1 + 3 + 1 + 1);
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    for event in &events[..5] {
        assert_eq!((&event["object"], &event["id"]), (&json!("chat.completion.chunk"), &events[0]["id"]));
        assert!(event.get("usage").is_none());
    }
    for event in &events[1..4] {
        assert!(!event["choices"][0]["delta"]["content"].as_str().unwrap().is_empty());
        assert_eq!(event["choices"][0]["finish_reason"], Value::Null);
    }
    let last = &events[4]["choices"][0];
    assert_eq!((&last["delta"], &last["finish_reason"]), (&json!({}), &json!("length")));
    assert_eq!(events[5], "[DONE]");
}

#[tokio::test]
async fn usage_comes_last_and_alone_when_asked_for() {
    let members = json!({"x_sim_tokens": 2, "stream_options": {"include_usage": true}});
    let events = stream("/v1/chat/completions", &chat_stream(members)).await;
    let [chunks @ .., usage, done] = &events[..] else { panic!("too few events") };
    assert!(chunks.iter().all(|chunk| chunk["usage"] == Value::Null && !chunk["choices"][0].is_null()));
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(2)));
    assert_eq!(done, "[DONE]");
}

#[tokio::test]
async fn a_completion_stream_is_text_only() {
    let body = json!({"model": "demo", "prompt": "hi", "stream": true, "x_sim_tokens": 2,
        "stream_options": {"include_usage": true}});
    let events = stream("/v1/completions", &body).await;
    assert_eq!(events.len(), 2 + 1 + 1 + 1);
    assert!(events[..4].iter().all(|event| event["object"] == "text_completion"));
    assert!(events[..2].iter().all(|event| !event["choices"][0]["text"].as_str().unwrap().is_empty()));
    assert_eq!(events[2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(events[3]["usage"]["completion_tokens"], 2);
    assert_eq!(events[4], "[DONE]");
}

#[tokio::test]
async fn a_response_stream_is_numbered_and_completes_with_its_text_and_usage() {
    let body = json!({"model": "demo", "input": "hi", "stream": true, "max_output_tokens": 3});
    let events = stream("/v1/responses", &body).await;
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let delta = "response.output_text.delta";
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        delta,
        delta,
        delta,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(kinds, expected);
    assert!(events.iter().enumerate().all(|(index, event)| event["sequence_number"] == index));
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    let completed = &events[10]["response"];
    assert_eq!(completed["output"][0]["content"][0]["text"], text);
    assert_eq!(events[7]["text"], text);
    assert_eq!(
        (&completed["status"], &completed["usage"]["output_tokens"]),
        (&json!("completed"), &json!(3))
    );
    assert_eq!(events[0]["response"]["status"], "in_progress");
}
