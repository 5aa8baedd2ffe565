//! Worker protocol §4: requests and cancels.

use nfrx_conformance::worker::Worker;
use nfrx_testkit::relay::patiently;
use serde_json::json;

use crate::world::{chat, relay, request, while_asking};

#[tokio::test(start_paused = true)]
async fn a_request_has_all_its_members_and_canonical_names() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let headers = [
        ("content-type", "application/json"),
        ("x-request-id", "r-1"),
        ("accept", "text/event-stream"),
        ("accept-language", "de"),
        ("user-agent", "tests"),
        ("cookie", "a=b"),
        ("x-other", "1"),
    ];
    let body = r#"{"model":"m","stream":true, "raw" : 1.50}"#;
    let ask = request("POST", "/api/llm/v1/chat/completions", &headers, body);
    let (_, asked) = while_asking(&relay, ask, async {
        let asked = worker.request().await;
        worker.answer(&asked.id, "{}").await;
        asked
    })
    .await;
    let mut expected = json!({
        "type": "http_proxy_request", "request_id": asked.id, "method": "POST", "path": "/chat/completions",
        "headers": { "Accept": "text/event-stream", "Accept-Language": "de", "Cache-Control": "no-store",
            "Content-Type": "application/json", "User-Agent": "tests", "X-Request-Id": "r-1" },
        "stream": true,
    });
    expected["body"] = asked.message["body"].clone();
    assert_eq!(asked.message, expected);
    assert_eq!(asked.body, body.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn its_id_is_a_fresh_uuid_whatever_the_clients_is() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (_, id) = while_asking(&relay, chat("m", &json!({})), async {
            let id = worker.request().await.id;
            worker.answer(&id, "{}").await;
            id
        })
        .await;
        // RFC 9562: version 4, variant 10.
        let bytes = id.as_bytes();
        assert!(
            id.len() == 36 && bytes[14] == b'4' && matches!(bytes[19], b'8' | b'9' | b'a' | b'b'),
            "{id}"
        );
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_a_cancel_before_and_after_the_first_byte() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    for begun in [false, true] {
        let mut client = relay.client().await;
        let id = {
            let asking = client.send(chat("m", &json!({ "stream": true })));
            tokio::pin!(asking);
            let id = tokio::select! {
                request = worker.request() => request.id,
                _ = &mut asking => panic!("nobody has answered"),
            };
            if begun {
                worker.head(&id, 200, &json!({ "Content-Type": "text/event-stream" })).await;
                worker.chunk(&id, "data: 1\n\n").await;
                let answer = patiently(asking).await.expect("an answer");
                drop(answer);
            }
            id
        };
        drop(client);
        worker.cancelled(&id).await;
        // The slot is free again.
        let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
            let next = worker.request().await.id;
            // A few messages of the old one may be under way.
            worker.chunk(&id, "data: 2\n\n").await;
            worker.end(&id).await;
            worker.answer(&next, "{}").await;
        })
        .await;
        assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
    }
}

#[tokio::test(start_paused = true)]
async fn no_cancel_follows_an_end() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    for _ in 0..2 {
        let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
            // Anything but a request would fail in the script.
            let id = worker.request().await.id;
            worker.answer(&id, "{}").await;
        })
        .await;
        assert_eq!(answer.status(), 200);
    }
}
