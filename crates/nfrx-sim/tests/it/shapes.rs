//! Answers that are not streamed, and what the backend tells about itself.

use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use nfrx_sim::SimConfig;
use serde_json::{Value, json};

use crate::world::{World, chat, chat_stream, events, json as read_json, text};

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let models = vec!["demo".to_owned(), "org/big".to_owned()];
    let world = World::start(SimConfig { models, ..SimConfig::default() }).await;
    for path in ["/v1/models", "/models"] {
        let (status, list) = world.get(path).await;
        assert_eq!((status.as_u16(), &list["object"]), (200, &json!("list")));
        let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
        assert_eq!(ids, ["demo", "org/big"]);
    }
    let (_, model) = world.get("/v1/models/org/big").await;
    assert_eq!((&model["id"], &model["object"]), (&json!("org/big"), &json!("model")));
    let (status, error) = world.get("/v1/models/other").await;
    assert_eq!((status.as_u16(), &error["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn the_backend_tells_its_family_as_configured() {
    let world = World::demo().await;
    let (_, props) = world.get("/props").await;
    assert!(props["build_info"].as_str().unwrap().starts_with("nfrx-sim "));
    assert_eq!(world.get("/health").await.1, json!({"status": "ok"}));
    assert_eq!(world.get("/api/version").await.0, 404);

    let ollama = SimConfig { build_info: None, api_version: Some("0.9".to_owned()), ..SimConfig::default() };
    world.sim.configure(ollama);
    assert_eq!(world.get("/props").await.0, 404);
    assert_eq!(world.get("/api/version").await.1, json!({"version": "0.9"}));
    assert_eq!(world.sim.started(), 0, "none of this is work");
}

#[tokio::test]
async fn a_chat_completion_has_its_shape_and_length() {
    let world = World::demo().await;
    let mut client = world.client().await;
    let response = client.post("/v1/chat/completions", &chat(json!({}))).await;
    assert!(response.headers().contains_key("content-length"));
    assert_eq!(response.headers()["content-type"], "application/json");
    let (_, answer) = read_json(response).await;
    assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!("demo")));
    assert_eq!(answer["system_fingerprint"], "simulated");
    let choice = &answer["choices"][0];
    assert_eq!((&choice["message"]["role"], &choice["finish_reason"]), (&json!("assistant"), &json!("stop")));
    let words = choice["message"]["content"].as_str().unwrap().split(' ').count() as u64;
    assert_eq!((words, &answer["usage"]["completion_tokens"]), (64, &json!(64)));
    let prompt = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(answer["usage"]["total_tokens"], prompt + 64);
    assert_eq!((world.sim.started(), world.sim.finished(), world.sim.in_flight()), (1, 1, 0));
}

#[tokio::test]
async fn a_completion_and_a_response_have_their_shapes() {
    let world = World::demo().await;
    let (_, answer) =
        world.post("/completions", &json!({"model": "demo", "prompt": ["hi"], "max_tokens": 3})).await;
    assert_eq!(
        (&answer["object"], &answer["usage"]["completion_tokens"]),
        (&json!("text_completion"), &json!(3))
    );
    assert_eq!(answer["choices"][0]["text"].as_str().unwrap().split(' ').count(), 3);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");

    let (_, answer) = world.post("/v1/responses", &json!({"model": "demo", "input": "hi"})).await;
    assert_eq!((&answer["object"], &answer["status"]), (&json!("response"), &json!("completed")));
    let part = &answer["output"][0]["content"][0];
    assert_eq!(
        (&part["type"], part["text"].as_str().unwrap().split(' ').count()),
        (&json!("output_text"), 64)
    );
    assert_eq!(answer["usage"]["output_tokens"], 64);
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_streamed_or_not() {
    let (one, two) = (World::demo().await, World::demo().await);
    let path = "/v1/chat/completions";
    let whole = one.post(path, &chat(json!({}))).await.1;
    assert_eq!(whole, one.post(path, &chat(json!({}))).await.1);
    assert_eq!(whole, two.post(path, &chat(json!({}))).await.1);
    let chunks = events(one.client().await.post(path, &chat_stream(json!({}))).await).await;
    let deltas = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    assert_eq!(whole["choices"][0]["message"]["content"], deltas.collect::<String>());
    let other = chat(json!({"messages": [{"role": "user", "content": "bye"}]}));
    assert_ne!(whole["choices"], one.post(path, &other).await.1["choices"]);
    one.sim.configure(SimConfig { seed: 1, ..SimConfig::default() });
    assert_ne!(whole["choices"], one.post(path, &chat(json!({}))).await.1["choices"]);
}

#[track_caller]
fn check_error(answer: (hyper::StatusCode, Value), status: u16, param: Value) {
    assert_eq!((answer.0.as_u16(), &answer.1["error"]["param"]), (status, &param), "{}", answer.1);
    assert!(answer.1["error"]["message"].is_string());
}

#[tokio::test]
async fn bad_requests_get_errors_in_openai_form() {
    let world = World::demo().await;
    let path = "/v1/chat/completions";
    check_error(world.post(path, &chat(json!({"model": "other"}))).await, 404, json!("model"));
    check_error(world.post(path, &json!({"messages": []})).await, 400, json!("model"));
    check_error(world.post(path, &json!({"model": "demo"})).await, 400, json!("messages"));
    check_error(world.post(path, &json!("text")).await, 400, Value::Null);
    let huge = chat(json!({"x_sim_tokens": 4_000_000_000_u64}));
    check_error(world.post(path, &huge).await, 400, json!("x_sim_tokens"));
    check_error(world.post("/v1/nothing", &json!({})).await, 404, Value::Null);
    check_error(world.get(path).await, 405, Value::Null);
}

#[tokio::test]
async fn a_request_may_set_its_tokens_and_its_whole_body() {
    let world = World::demo().await;
    let path = "/v1/chat/completions";
    let (_, answer) = world.post(path, &chat(json!({"x_sim_tokens": 3, "x_sim_token_bytes": 1000}))).await;
    assert_eq!(answer["choices"][0]["message"]["content"].as_str().unwrap().len(), 3000);
    let raw = "not json: \u{1F980}\n";
    let mut client = world.client().await;
    let response = client.post(path, &chat(json!({"x_sim_raw": raw}))).await;
    assert_eq!(text(response).await, raw);
}

#[tokio::test]
async fn a_transcription_counts_its_upload() {
    let world = World::demo().await;
    let frames = (0..100).map(|_| Ok(Frame::data(bytes::Bytes::from(vec![7; 10_000]))));
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let request =
        Request::post("/audio/transcriptions").header("authorization", "Bearer key").body(body).unwrap();
    let (_, answer) = read_json(world.client().await.send(request).await.unwrap()).await;
    assert_eq!(answer["text"], "simulated transcript of 1000000 bytes");
    let request = &world.sim.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/audio/transcriptions"));
    assert_eq!(
        (&request.headers["authorization"], request.body_bytes),
        (&"Bearer key".parse().unwrap(), 1_000_000)
    );
}

fn form(stream: &str) -> Request<crate::world::RequestBody> {
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\n{stream}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n"
    );
    let request = Request::post("/v1/audio/transcriptions").header("x-sim-tokens", "2");
    request.body(crate::world::whole(form.into())).unwrap()
}

#[tokio::test]
async fn a_transcription_streams_when_its_form_says_so() {
    let world = World::demo().await;
    let (status, answer) = read_json(world.client().await.send(form("false")).await.unwrap()).await;
    assert!(status == 200 && answer["text"].is_string());
    let events = crate::world::events(world.client().await.send(form("true")).await.unwrap()).await;
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]);
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(events[2]["text"], text);
}

#[tokio::test]
async fn a_conversion_tells_the_hash_of_what_it_read() {
    let world = World::demo().await;
    for path in ["/v1/convert/file", "/v1/convert/source"] {
        let request = Request::post(path).header("x-sim-hash", "true");
        let request = request.body(crate::world::whole("a document".into())).unwrap();
        let (_, answer) = read_json(world.client().await.send(request).await.unwrap()).await;
        assert_eq!(answer["document"]["md_content"], "simulated document of 10 bytes");
        assert_eq!(answer["x_sim_hash"], nfrx_sim::upload_hash(b"a document"));
    }
}

#[tokio::test]
async fn an_upload_may_be_answered_before_it_is_read() {
    let world = World::demo().await;
    let never = StreamBody::new(futures_util::stream::pending()).boxed_unsync();
    let request =
        Request::post("/v1/convert/file").header("x-sim-early", "true").header("x-sim-status", "413");
    let (status, _) = read_json(world.client().await.send(request.body(never).unwrap()).await.unwrap()).await;
    assert_eq!((status.as_u16(), world.sim.stats().body_bytes), (413, 0));
}
