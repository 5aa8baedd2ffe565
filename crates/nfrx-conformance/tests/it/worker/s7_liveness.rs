//! Worker protocol §7: liveness, loss, duplicates.

use std::time::Duration;

use nfrx_conformance::Heard;
use nfrx_conformance::worker::{Worker, find};
use nfrx_testkit::http::get;
use nfrx_testkit::relay::{API_KEY, Relay};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::{chat, is_json, is_text, relay, while_asking};

async fn models(relay: &Relay) -> String {
    relay.ask(get("/api/llm/v1/models", Some(API_KEY))).await.text()
}

// KD-37: the socket is closed, so that the agent comes back.
#[tokio::test(start_paused = true)]
async fn after_fifteen_seconds_of_silence_a_worker_is_out_and_told_so() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let start = Instant::now();
    let (answer, end) = while_asking(&relay, chat("m", &json!({})), async {
        worker.request().await;
        worker.socket.end().await
    })
    .await;
    is_json(&answer, 502, "upstream_error");
    assert!(matches!(end, Heard::Closed(1001, _)), "{end:?}");
    assert!((14..=20).contains(&start.elapsed().as_secs()), "after {:?}", start.elapsed());
    assert_eq!(models(&relay).await, "{\"object\":\"list\",\"data\":[]}\n");
}

#[tokio::test(start_paused = true)]
async fn any_message_shows_that_a_worker_lives() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let signs = [
        json!({ "type": "heartbeat", "ts": 1 }),
        json!({ "type": "status_update", "max_concurrency": 1 }),
        json!({ "type": "http_proxy_response_chunk", "request_id": "x", "data": "" }),
        json!({ "type": "whatever" }),
    ];
    for sign in signs.iter().cycle().take(12) {
        sleep(Duration::from_secs(14)).await;
        worker.socket.say(sign).await;
    }
    assert!(find(&relay.until(|_| true).await, "a").is_some());
}

#[tokio::test(start_paused = true)]
async fn models_are_gone_with_the_socket() {
    let relay = relay();
    let worker = Worker::llm(&relay, "a", &["m"], 1).await;
    assert!(models(&relay).await.contains("\"m\""));
    drop(worker);
    relay.until(|llm| find(llm, "a").is_none()).await;
    assert_eq!(models(&relay).await, "{\"object\":\"list\",\"data\":[]}\n");
    is_text(&relay.ask(chat("m", &json!({}))).await, 404, "no worker");
}

// KD-22; what the earlier had not answered goes to another, here to the later (decision 10).
#[tokio::test(start_paused = true)]
async fn of_two_with_one_id_the_later_wins_and_stays() {
    let relay = relay();
    let mut earlier = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, mut later) = while_asking(&relay, chat("m", &json!({})), async {
        earlier.request().await;
        let mut later = Worker::llm(&relay, "a", &["m"], 1).await;
        let end = earlier.socket.end().await;
        assert!(matches!(end, Heard::Closed(1001, ref reason) if reason.contains("replaced")), "{end:?}");
        let id = later.request().await.id;
        later.answer(&id, "{}").await;
        later
    })
    .await;
    assert_eq!(answer.status(), 200);
    drop(earlier);
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = later.request().await.id;
        later.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(relay.until(|_| true).await["workers"].as_array().map(Vec::len), Some(1));
}

// KD-1. Seen to fail: with a bound of unread bytes that no answer reaches.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_costs_its_own_request_and_no_other() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 2).await;
    let mut client = relay.client().await;
    let asking = client.send(chat("m", &json!({ "stream": true })));
    tokio::pin!(asking);
    let id = tokio::select! {
        request = worker.request() => request.id,
        _ = &mut asking => panic!("nobody has answered"),
    };
    worker.head(&id, 200, &json!({})).await;
    let unread = asking.await.expect("a head");
    let piece = vec![0; 1024 * 1024];
    for _ in 0..24 {
        worker.chunk(&id, &piece).await;
    }
    worker.cancelled(&id).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_stops_talking_still_gets_its_requests_and_can_be_closed() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    // More than one turn's worth lies ready when the request comes.
    for _ in 0..1000 {
        worker.socket.say(&json!({ "type": "heartbeat", "ts": 1 })).await;
    }
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
}
