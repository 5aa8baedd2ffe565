//! Worker protocol §3.5 and §3.6: headers, chunks and an end, in whatever order they come.

use base64::Engine as _;
use nfrx_conformance::worker::Worker;
use nfrx_testkit::relay::{Relay, patiently};
use serde_json::{Value, json};

use crate::world::{chat, is_json, read, relay, while_asking};

/// What a client gets for an answer of these messages. `H` is a head of 200 with no header,
/// a number a head with that status, `.` a chunk, `E` an end, `U` and `D` an end with
/// `upstream_error` and `worker_draining`.
async fn answered(script: &str) -> (u16, String, bool) {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let act = async {
        let id = worker.request().await.id;
        for word in script.split(' ') {
            match word {
                "H" => worker.head(&id, 200, &json!({})).await,
                "." => worker.chunk(&id, "piece").await,
                "E" => worker.end(&id).await,
                "U" => worker.fail(&id, "upstream_error").await,
                status => worker.head(&id, status.parse().expect("a status"), &json!({})).await,
            }
        }
    };
    patiently(async { tokio::join!(read(&relay, chat("m", &json!({}))), act).0 }).await
}

#[tokio::test(start_paused = true)]
async fn the_order_of_messages_decides_what_a_client_gets() {
    const FAILED: &str = r#"{"error":"upstream_error"}"#;
    for (script, status, body, clean) in [
        ("H . . E", 200, "piecepiece", true),
        ("H E", 200, "", true),
        ("404 . E", 404, "piece", true),
        // A backend's own errors pass, though they look like an agent's.
        ("503 . E", 503, "piece", true),
        ("502 E", 502, "", true),
        // No head and no error: a worker's bug as well.
        ("E", 502, FAILED, true),
        ("U", 502, FAILED, true),
        // A chunk before the head, and a head twice, are a worker's bugs.
        (". H E", 502, FAILED, true),
        ("502 . U", 502, FAILED, true),
        ("H . U", 200, "piece", false),
        ("H U", 200, "", false),
    ] {
        let got = answered(script).await;
        // What breaks off may take its head or its last bytes with it, but looks never whole.
        match clean {
            true => assert_eq!(got, (status, body.to_owned(), true), "{script}"),
            false => assert!(!got.2, "{script}: {got:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_none_is_a_failed_worker() {
    for status in ["0", "100", "199", "1000"] {
        assert_eq!(answered(status).await.0, 502, "{status}");
    }
}

async fn two_slots() -> (Relay, Worker) {
    let relay = relay();
    let worker = Worker::llm(&relay, "a", &["m"], 2).await;
    (relay, worker)
}

#[tokio::test(start_paused = true)]
async fn answers_may_be_interleaved() {
    let (relay, mut worker) = two_slots().await;
    let act = async {
        let ids = [worker.request().await.id, worker.request().await.id];
        for id in &ids {
            worker.head(id, 200, &json!({})).await;
        }
        for piece in 0..3 {
            for (nth, id) in ids.iter().enumerate().rev() {
                worker.chunk(id, format!("{nth}{piece} ")).await;
            }
        }
        for id in &ids {
            worker.end(id).await;
        }
    };
    let ask = || relay.ask(chat("m", &json!({})));
    let (one, two, ()) = patiently(async { tokio::join!(ask(), ask(), act) }).await;
    let mut texts = [one.text(), two.text()];
    texts.sort_unstable();
    assert_eq!(texts, ["00 01 02 ", "10 11 12 "]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_for_a_request_that_is_over_or_was_never_there_is_ignored() {
    let (relay, mut worker) = two_slots().await;
    let mut last = "never".to_owned();
    for _ in 0..3 {
        let (answer, id) = while_asking(&relay, chat("m", &json!({})), async {
            let id = worker.request().await.id;
            for id in [last.as_str(), ""] {
                worker.head(id, 500, &json!({})).await;
                worker.chunk(id, "not wanted").await;
                worker.fail(id, "upstream_error").await;
            }
            worker.answer(&id, "{}").await;
            id
        })
        .await;
        assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
        last = id;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_jobs_are_passed_over() {
    let (relay, mut worker) = two_slots().await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        for message in [
            json!({ "type": "job_chunk", "job_id": id, "data": { "a": 1 } }),
            json!({ "type": "job_result", "job_id": id, "data": null }),
            json!({ "type": "job_error", "job_id": id, "code": "c", "message": "m" }),
        ] {
            worker.socket.say(&message).await;
        }
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
}

#[tokio::test(start_paused = true)]
async fn headers_and_error_may_be_missing_or_null() {
    let (relay, mut worker) = two_slots().await;
    for (headers, error) in [(None, None), (Some(Value::Null), Some(Value::Null))] {
        let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
            let id = worker.request().await.id;
            let mut head = json!({ "type": "http_proxy_response_headers", "request_id": id, "status": 200 });
            let mut end = json!({ "type": "http_proxy_response_end", "request_id": id });
            if let (Some(headers), Some(error)) = (headers, error) {
                (head["headers"], end["error"]) = (headers, error);
            }
            worker.socket.say(&head).await;
            worker.socket.say(&end).await;
        })
        .await;
        assert_eq!((answer.status().as_u16(), answer.body.len()), (200, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_no_base64_breaks_its_answer_only() {
    let (relay, mut worker) = two_slots().await;
    let (broken, ()) = patiently(async {
        tokio::join!(read(&relay, chat("m", &json!({}))), async {
            let id = worker.request().await.id;
            worker.head(&id, 200, &json!({})).await;
            let bad = json!({ "type": "http_proxy_response_chunk", "request_id": id, "data": "!" });
            worker.socket.say(&bad).await;
            worker.cancelled(&id).await;
        })
    })
    .await;
    assert!(!broken.2, "{broken:?}");
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_error_code_is_an_upstream_error() {
    let (relay, mut worker) = two_slots().await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.fail(&id, "dial tcp 10.0.0.5:11434").await;
    })
    .await;
    is_json(&answer, 502, "upstream_error");
}

#[tokio::test(start_paused = true)]
async fn base64_without_its_padding_or_with_the_other_alphabet_is_not_taken() {
    assert!(base64::engine::general_purpose::STANDARD.decode("aGk").is_err(), "the script's own");
    let (relay, mut worker) = two_slots().await;
    for data in ["aGk", "_-8="] {
        let ((status, _, clean), ()) = patiently(async {
            tokio::join!(read(&relay, chat("m", &json!({}))), async {
                let id = worker.request().await.id;
                worker.head(&id, 200, &json!({})).await;
                let bad = json!({ "type": "http_proxy_response_chunk", "request_id": id, "data": data });
                worker.socket.say(&bad).await;
                worker.cancelled(&id).await;
            })
        })
        .await;
        assert!(!clean, "{data}: {status}");
    }
}

// Its own map of headers would panic at 32,768. Seen to fail: without the bound.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_large_is_a_failed_worker_and_costs_no_other_request() {
    let (relay, mut worker) = two_slots().await;
    let many: serde_json::Map<String, Value> =
        (0..40_000).map(|nth| (format!("X-{nth}"), json!("1"))).collect();
    for headers in [Value::Object(many), json!({ "X-Large": "x".repeat(80 * 1024) })] {
        let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
            let id = worker.request().await.id;
            worker.head(&id, 200, &headers).await;
            worker.cancelled(&id).await;
        })
        .await;
        is_json(&answer, 502, "upstream_error");
    }
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker
            .head(&id, 200, &json!({ "X-Name": "J\u{fc}rgen", "a b": "no header", "X-Line": "a\nb" }))
            .await;
        worker.end(&id).await;
    })
    .await;
    let headers = answer.head.headers();
    assert_eq!((answer.status().as_u16(), headers["x-name"].as_bytes()), (200, "J\u{fc}rgen".as_bytes()));
    assert!(!headers.contains_key("x-line"));
}
