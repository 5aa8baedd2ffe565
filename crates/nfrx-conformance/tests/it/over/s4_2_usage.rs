//! HTTP contract §4.2, "Token accounting": what is read from answers in passing.

use nfrx_conformance::worker::find;
use nfrx_testkit::relay::Kind;
use serde_json::json;

use super::CARRIER;
use crate::world::{World, chat};

/// The tokens that a worker is said to have used after one answer.
async fn counted(kind: &str, body: &str) -> (u64, u64) {
    let mut world = World::new(CARRIER, Kind::Llm, 1, &["m"]).await;
    let answer = world
        .answered(chat("m", &json!({ "stream": kind == "text/event-stream" })), |asked| {
            asked.answer(200, &[("content-type", kind)], body.to_owned());
        })
        .await;
    assert_eq!(answer.text(), body, "the bytes are left alone");
    let llm = world.relay.until(|llm| llm["server"]["jobs_completed_total"] == 1).await;
    let worker = find(&llm, "a").expect("it is there");
    let tokens = |field: &str| worker[field].as_u64().expect("a number");
    (tokens("input_tokens_total"), tokens("output_tokens_total"))
}

#[tokio::test(start_paused = true)]
async fn of_a_whole_answer() {
    for (body, expected) in [
        (r#"{"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#, (3, 5)),
        (r#"{"usage":{"input_tokens":7,"output_tokens":2}}"#, (7, 2)),
        (r#"{"response":{"id":"r","usage":{"input_tokens":4,"output_tokens":1}}}"#, (4, 1)),
        (r#"{"usage":{"prompt_tokens":0,"completion_tokens":0}}"#, (0, 0)),
        (r#"{"usage":null,"a":1}"#, (0, 0)),
        (r#"{"usage":{"prompt_tokens":"3"}}"#, (0, 0)),
        ("not json", (0, 0)),
    ] {
        assert_eq!(counted("application/json", body).await, expected, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_stream_the_latest_that_are_not_zero() {
    for (body, expected) in [
        (
            "data: {\"a\":1}\n\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n",
            (3, 5),
        ),
        (
            "data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\r\n\r\ndata: {\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":9}}\r\n\r\n",
            (2, 9),
        ),
        (
            "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":4,\"output_tokens\":6}}}\n\n",
            (4, 6),
        ),
        (
            "data:{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\ndata: {\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n",
            (3, 5),
        ),
        ("data: \n\ndata: [DONE]\n\n", (0, 0)),
    ] {
        assert_eq!(counted("text/event-stream", body).await, expected, "{body}");
    }
}
