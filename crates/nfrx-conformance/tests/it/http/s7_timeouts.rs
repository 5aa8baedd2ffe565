//! HTTP contract §7: how long a worker may say nothing of a request.

use std::time::Duration;

use nfrx_conformance::worker::{Worker, registration};
use nfrx_testkit::relay::{Relay, config, patiently};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::world::{chat, is_json, read, request, while_asking};

fn relay_with(timeout: u64, options: &[(&str, &str)]) -> Relay {
    let mut config = config(options);
    config.request_timeout = Duration::from_secs(timeout);
    Relay::start(config)
}

fn beat() -> Value {
    json!({ "type": "heartbeat", "ts": 1 })
}

// Heartbeats each five seconds, as old agents send them, excuse a backend that thinks.
#[tokio::test(start_paused = true)]
async fn a_worker_that_shows_that_it_lives_may_think_on() {
    let relay = relay_with(8, &[]);
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        for _ in 0..24 {
            sleep(Duration::from_secs(5)).await;
            worker.socket.say(&beat()).await;
        }
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_says_nothing_at_all_is_a_504_and_gets_a_cancel() {
    let relay = relay_with(8, &[]);
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let start = Instant::now();
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.cancelled(&id).await;
    })
    .await;
    is_json(&answer, 504, "timeout");
    assert!((8..=9).contains(&start.elapsed().as_secs()), "after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_the_head_the_answer_is_broken_off() {
    let relay = relay_with(8, &[]);
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (got, ()) = patiently(async {
        tokio::join!(read(&relay, chat("m", &json!({}))), async {
            let id = worker.request().await.id;
            worker.head(&id, 200, &json!({})).await;
            worker.chunk(&id, "half").await;
            worker.cancelled(&id).await;
        })
    })
    .await;
    assert!(!got.2, "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn every_message_of_the_request_starts_the_limit_anew() {
    let relay = relay_with(8, &[]);
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.head(&id, 200, &json!({})).await;
        for _ in 0..5 {
            sleep(Duration::from_secs(7)).await;
            worker.chunk(&id, ".").await;
        }
        worker.end(&id).await;
    })
    .await;
    assert_eq!(answer.text(), ".....");
}

#[tokio::test(start_paused = true)]
async fn with_0_there_is_no_limit() {
    let relay = relay_with(0, &[]);
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        for _ in 0..30 {
            sleep(Duration::from_secs(10)).await;
            worker.socket.say(&beat()).await;
        }
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
}

// KD-9: a limit of its own that no heartbeat excuses, off unless it is set.
#[tokio::test(start_paused = true)]
async fn silence_about_a_request_may_be_limited_whatever_its_worker_says() {
    let relay = relay_with(8, &[("silence_max", "20s")]);
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let start = Instant::now();
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        for _ in 0..5 {
            sleep(Duration::from_secs(5)).await;
            worker.socket.say(&beat()).await;
        }
        worker.cancelled(&id).await;
    })
    .await;
    is_json(&answer, 504, "timeout");
    assert!((20..=26).contains(&start.elapsed().as_secs()), "after {:?}", start.elapsed());
}

/// A small upload to each of the plugins that take some.
fn uploads() -> [(&'static str, http::Request<bytes::Bytes>); 2] {
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--b--\r\n";
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    [("asr", "/api/asr/v1/audio/transcriptions"), ("docling", "/api/docling/v1/convert/file")]
        .map(|(plugin, path)| (plugin, request("POST", path, &kind, form)))
}

#[tokio::test(start_paused = true)]
async fn a_worker_for_uploads_that_says_nothing_is_a_504_and_gets_a_cancel() {
    for (plugin, upload) in uploads() {
        let relay = relay_with(8, &[]);
        let mut worker = Worker::join(&relay, plugin, &registration("a", &["m"], 1)).await;
        let (answer, ()) = while_asking(&relay, upload, async {
            let id = worker.request().await.id;
            worker.cancelled(&id).await;
        })
        .await;
        is_json(&answer, 504, "timeout");
    }
}

// KD-9: the old server cut long silent work on healthy workers.
#[tokio::test(start_paused = true)]
async fn a_worker_for_uploads_may_work_on_while_it_shows_that_it_lives() {
    for (plugin, upload) in uploads() {
        let relay = relay_with(8, &[]);
        let mut worker = Worker::join(&relay, plugin, &registration("a", &["m"], 1)).await;
        let (answer, ()) = while_asking(&relay, upload, async {
            let id = worker.request().await.id;
            for _ in 0..12 {
                sleep(Duration::from_secs(5)).await;
                worker.socket.say(&beat()).await;
            }
            worker.answer(&id, "{}").await;
        })
        .await;
        assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"), "{plugin}");
    }
}
