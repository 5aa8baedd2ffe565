//! HTTP contract §1.5: ids of requests.

use nfrx_conformance::worker::Worker;
use nfrx_testkit::relay::Relay;
use serde_json::json;

use crate::world::{chat, header, relay, request, while_asking};

/// The id that the client sees and the one that the worker sees.
async fn ids(relay: &Relay, worker: &mut Worker, given: Option<&str>) -> (String, String) {
    let mut ask = chat("m", &json!({}));
    if let Some(given) = given {
        ask.headers_mut().insert("x-request-id", given.parse().expect("a value"));
    }
    let (answer, seen) = while_asking(relay, ask, async {
        let asked = worker.request().await;
        worker.answer(&asked.id, "{}").await;
        assert_ne!(asked.message["headers"]["X-Request-Id"], asked.id.as_str(), "it is not the tunnel's id");
        asked.message["headers"]["X-Request-Id"].as_str().unwrap_or_default().to_owned()
    })
    .await;
    (header(&answer, "x-request-id").to_owned(), seen)
}

#[tokio::test(start_paused = true)]
async fn a_clients_id_is_taken_as_it_is_and_goes_to_the_worker_and_back() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answered, seen) = ids(&relay, &mut worker, Some("box1/Zk3v9QpLm2-000042")).await;
    // That it comes back is new: KD-34.
    assert_eq!((answered.as_str(), seen.as_str()), ("box1/Zk3v9QpLm2-000042", "box1/Zk3v9QpLm2-000042"));
}

#[tokio::test(start_paused = true)]
async fn without_one_each_request_gets_its_own() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (one, two) = (ids(&relay, &mut worker, None).await, ids(&relay, &mut worker, None).await);
    assert_eq!((&one.0, &two.0), (&one.1, &two.1));
    assert!(one.0.len() > 8 && one.0 != two.0, "{one:?} {two:?}");
}

// KD-34.
#[tokio::test(start_paused = true)]
async fn every_answer_has_it_also_the_refused() {
    let relay = relay();
    for (method, path) in [("GET", "/nope"), ("POST", "/api/state"), ("GET", "/healthz"), ("GET", "/metrics")]
    {
        let answer = relay.ask(request(method, path, &[("x-request-id", "r-7")], "")).await;
        assert_eq!(header(&answer, "x-request-id"), "r-7", "{path}");
    }
}
