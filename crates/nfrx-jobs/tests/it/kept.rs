//! Payloads and results that are stored, so that neither side waits for the other.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use nfrx_jobs::JobsFactory;
use nfrx_testkit::http::{Answer, get, post};
use nfrx_testkit::relay::{API_KEY, Relay, WORKER_KEY, config, patiently, set_options};
use serde_json::{Value, json};

use crate::transfers::pieces;
use crate::{answer, claim, client, events_until, make, raw, relay, settle, show, start, worker};

/// The digest of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn kept() -> Value {
    json!({ "type": "demo.echo", "keep": true, "payload_keys": ["payload"] })
}

/// Stores a payload.
async fn put(relay: &Relay, id: &str, key: &str, body: &'static str) -> Answer {
    relay.ask(raw("PUT", &format!("/api/jobs/{id}/payload/{key}"), API_KEY, body)).await
}

/// A channel of a claimed job.
async fn open(relay: &Relay, id: &str, side: &str) -> String {
    let opened = worker(relay, &format!("/api/jobs/{id}/{side}"), &json!({})).await;
    assert_eq!(opened.status(), 200, "{}", opened.text());
    let opened = opened.json();
    let url = opened.get("reader_url").or(opened.get("writer_url"));
    url.and_then(Value::as_str).expect("a url").to_owned()
}

async fn report(relay: &Relay, id: &str, state: &str) {
    let told = worker(relay, &format!("/api/jobs/{id}/status"), &json!({ "state": state })).await;
    assert_eq!(told.status(), 200, "{}", told.text());
}

/// A claimed job whose result is stored.
async fn with_result(relay: &Relay, result: &'static str) -> String {
    let id = make(relay, &json!({ "type": "demo.echo", "keep": true })).await;
    claim(relay, &json!({ "types": ["demo.echo"] })).await;
    let url = open(relay, &id, "result").await;
    assert_eq!(relay.ask(raw("POST", &url, WORKER_KEY, result)).await.text(), "{\"status\":\"ok\"}\n");
    id
}

fn result(id: &str, range: Option<&str>) -> Request<Bytes> {
    let mut request = get(&format!("/api/jobs/{id}/result/result"), Some(API_KEY));
    if let Some(range) = range {
        request.headers_mut().insert("range", range.parse().expect("a header"));
    }
    request
}

/// What one metric shows.
async fn metric(relay: &Relay, name: &str) -> String {
    let all = relay.ask(get("/metrics", Some(API_KEY))).await.text();
    let line = all.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("`{name}` in\n{all}")).trim().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_client_stores_its_payload_leaves_and_fetches_the_result_later() {
    let relay = relay(&[("client_ttl", "30s")]);
    let id = make(&relay, &kept()).await;
    // Seen to fail: with a job that is ready before its payload is there.
    let none = worker(&relay, "/api/jobs/claim", &json!({})).await;
    assert_eq!(none.status(), 204, "{}", none.text());
    // A worker that waits is woken by the payload.
    let wait = json!({ "max_wait_seconds": 60 });
    let waiting = start(&relay, post("/api/jobs/claim", Some(WORKER_KEY), &wait)).await;
    settle().await;
    let stored = put(&relay, &id, "payload", "hello").await;
    assert_eq!(stored.status(), 200, "{}", stored.text());
    assert_eq!((&stored.json()["bytes"], &stored.json()["sha256"]), (&json!(5), &json!(HELLO)));
    assert_eq!(answer(waiting).await.expect("an answer").json()["job_id"], json!(id));

    // Nobody watches it for longer than other jobs live.
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    let mut watcher = relay.client().await;
    let events = watcher.send(get(&format!("/api/jobs/{id}/events"), Some(API_KEY))).await.expect("a head");
    let mut events = events.into_body();
    let url = open(&relay, &id, "payload").await;
    assert_eq!(relay.ask(get(&url, Some(WORKER_KEY))).await.text(), "hello");
    let url = open(&relay, &id, "result").await;
    assert_eq!(relay.ask(raw("POST", &url, WORKER_KEY, "HELLO")).await.text(), "{\"status\":\"ok\"}\n");
    report(&relay, &id, "completed").await;
    let told = events_until(&mut events, r#""status":"completed""#).await;
    // Nothing of it is the client's to do. Seen to fail: with channels of the spool told as others.
    assert!(!told.contains("event: payload") && !told.contains("event: result"), "{told}");

    let view = show(&relay, &id).await;
    let shown = &view["stored_results"]["result"];
    assert_eq!(
        (&shown["bytes"], &shown["url"]),
        (&json!(5), &json!(format!("/api/jobs/{id}/result/result")))
    );
    assert_eq!(view.get("stored_payloads"), None, "nobody reads it any more");
    let whole = relay.ask(result(&id, None)).await;
    assert_eq!((whole.status().as_u16(), whole.text().as_str()), (200, "HELLO"));
    assert_eq!(whole.head.headers()["etag"], *format!("\"{}\"", shown["sha256"].as_str().expect("text")));
    for (range, status, text, shown) in [
        ("bytes=1-2", 206, "EL", "bytes 1-2/5"),
        ("bytes=3-", 206, "LO", "bytes 3-4/5"),
        ("bytes=-1", 206, "O", "bytes 4-4/5"),
        ("bytes=0-0,2-2", 200, "HELLO", ""),
        ("lines=1-2", 200, "HELLO", ""),
        ("bytes=5-", 416, "{\"error\":\"no_such_range\"}\n", "bytes */5"),
    ] {
        let part = relay.ask(result(&id, Some(range))).await;
        let range_shown =
            part.head.headers().get("content-range").map_or("", |value| value.to_str().expect("text"));
        assert_eq!(
            (part.status().as_u16(), part.text().as_str(), range_shown),
            (status, text, shown),
            "{range}"
        );
    }
    assert_eq!(metric(&relay, "nfrx_jobs_spool_bytes ").await, "5");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_asked_before_the_payload_was_stored_gets_it() {
    let relay = relay(&[]);
    let id = make(&relay, &json!({ "type": "demo.echo", "keep": true })).await;
    claim(&relay, &json!({})).await;
    let url = open(&relay, &id, "payload").await;
    let reading = start(&relay, get(&url, Some(WORKER_KEY))).await;
    assert_eq!(put(&relay, &id, "payload", "hello").await.status(), 200);
    // Seen to fail: without the look for a channel that waits.
    assert_eq!(answer(reading).await.expect("an answer").text(), "hello");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_507_and_leaves_nothing() {
    let relay = relay(&[("spool_bytes_max", "8")]);
    let id = make(&relay, &kept()).await;
    let full = (507, "{\"error\":\"spool_full\"}\n".to_owned());
    let told = |answer: Answer| (answer.status().as_u16(), answer.text());
    assert_eq!(told(put(&relay, &id, "payload", "nine byte").await), full);
    // Without a length it is noticed as it comes.
    let (sender, mut request) = pieces(&format!("/api/jobs/{id}/payload/payload"));
    *request.method_mut() = http::Method::PUT;
    let mut uploader = relay.client().await;
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(async move { uploader.upload(request).await.map(|answer| answer.status().as_u16()) });
    for _ in 0..3 {
        // It may be refused before the last piece.
        let _ = sender.send(Bytes::from_static(b"four")).await;
    }
    drop(sender);
    assert_eq!(sending.join_next().await.expect("started").expect("no panic").expect("an answer"), 507);
    assert_eq!(metric(&relay, "nfrx_jobs_spool_bytes ").await, "0", "room was given back");
    assert_eq!(metric(&relay, "nfrx_jobs_refused_total{bound=\"spool\"} ").await, "2");

    assert_eq!(put(&relay, &id, "payload", "hello").await.status(), 200);
    claim(&relay, &json!({})).await;
    let url = open(&relay, &id, "result").await;
    assert_eq!(told(relay.ask(raw("POST", &url, WORKER_KEY, "four")).await), full);
    // Another under the same key takes the place of the first.
    assert_eq!(put(&relay, &id, "payload", "two").await.status(), 200);
    settle().await;
    assert_eq!(metric(&relay, "nfrx_jobs_spool_bytes ").await, "3");
    let url = open(&relay, &id, "result").await;
    assert_eq!(relay.ask(raw("POST", &url, WORKER_KEY, "four")).await.status(), 200);
    assert_eq!(client(&relay, &format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 200);
    settle().await;
    // Seen to fail: without the removal of what a job no longer names.
    assert_eq!(metric(&relay, "nfrx_jobs_spool_bytes ").await, "0");
    assert_eq!(relay.ask(result(&id, None)).await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_long_enough_is_gone() {
    let relay = relay(&[("spool_ttl", "1h"), ("lease", "3h")]);
    let waits = make(&relay, &json!({ "type": "other", "keep": true })).await;
    assert_eq!(put(&relay, &waits, "payload", "hello").await.status(), 200);
    let done = with_result(&relay, "HELLO").await;
    tokio::time::sleep(std::time::Duration::from_secs(3605)).await;
    // Its worker has it still.
    assert_eq!(relay.ask(result(&done, None)).await.status(), 200);
    report(&relay, &done, "completed").await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(relay.ask(result(&done, None)).await.status(), 404);
    let view = show(&relay, &waits).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("failed"), &json!("payload_expired")));
    assert_eq!(metric(&relay, "nfrx_jobs_spool_bytes ").await, "0");
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_told_what_is_wrong_and_leave_nothing() {
    let relay = relay(&[]);
    let id = make(&relay, &kept()).await;
    let told = |answer: Answer| (answer.status().as_u16(), answer.text());
    let bad = |text: &str| (400, format!("{{\"error\":\"{text}\"}}\n"));
    // No path of ours has such a segment.
    assert_eq!(put(&relay, &id, "a%0Ab", "x").await.status(), 404);
    assert_eq!(told(put(&relay, &id, &"k".repeat(257), "x").await), bad("invalid_request"));
    assert_eq!(put(&relay, "nobody", "payload", "x").await.status(), 404);
    for keys in [json!([""]), json!(["a\nb"]), json!([1]), json!("payload"), json!(vec!["k"; 65])] {
        let order = json!({ "type": "demo.echo", "payload_keys": keys });
        assert_eq!(told(client(&relay, "/api/jobs", &order).await), bad("invalid_request"), "{order}");
    }
    // Whatever a key is called, no file is.
    assert_eq!(put(&relay, &id, "..%2F..%2Fetc%2Fpasswd", "x").await.status(), 200);
    let by_worker = raw("PUT", &format!("/api/jobs/{id}/payload/payload"), WORKER_KEY, "x");
    assert_eq!(relay.ask(by_worker).await.status(), 401);
    assert_eq!(client(&relay, &format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 200);
    assert_eq!(
        told(put(&relay, &id, "payload", "x").await),
        (409, "{\"error\":\"invalid_state\"}\n".to_owned())
    );
    settle().await;
    assert_eq!(metric(&relay, "nfrx_jobs_spool_bytes ").await, "0");
}

/// A server whose jobs are kept in this folder.
fn durable(folder: &Path) -> Relay {
    let mut config = config(&[]);
    config.state_dir = Some(folder.to_owned());
    set_options(&mut config, &JobsFactory, &[]);
    Relay::with(config, vec![Box::new(JobsFactory)])
}

async fn stop(relay: Relay) {
    relay.stop();
    relay.ended().await;
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join("jobs/objects")).expect("it was made");
    files.map(|file| file.expect("it can be listed").path()).collect()
}

/// Waits for something that no event tells.
async fn until(mut reached: impl FnMut() -> bool) {
    patiently(async {
        while !reached() {
            settle().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_breaks_off_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = durable(folder.path());
    let id = make(&relay, &json!({ "type": "demo.echo", "keep": true })).await;
    claim(&relay, &json!({})).await;
    let url = open(&relay, &id, "result").await;
    for (method, url) in [("PUT", format!("/api/jobs/{id}/payload/payload")), ("POST", url)] {
        let (sender, mut request) = pieces(&url);
        *request.method_mut() = method.parse().expect("a method");
        let mut uploader = relay.client().await;
        let mut sending = tokio::task::JoinSet::new();
        sending.spawn(async move { uploader.upload(request).await.map(|answer| answer.status()) });
        sender.send(Bytes::from_static(b"half")).await.expect("it is read");
        until(|| !objects(folder.path()).is_empty()).await;
        sending.abort_all();
        until(|| objects(folder.path()).is_empty()).await;
        drop(sender);
    }
    let view = show(&relay, &id).await;
    // Seen to fail: with what had come kept as if it were whole.
    assert_eq!((view.get("stored_payloads"), view.get("stored_results")), (None, None));
    assert_eq!(metric(&relay, "nfrx_jobs_spool_bytes ").await, "0");
    stop(relay).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_keeps_what_is_whole_and_drops_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = durable(folder.path());
    let whole = with_result(&first, "HELLO").await;
    report(&first, &whole, "completed").await;
    let before = objects(folder.path());
    let cut = with_result(&first, "cut short").await;
    report(&first, &cut, "completed").await;
    let cut_file =
        objects(folder.path()).into_iter().find(|file| !before.contains(file)).expect("it is there");
    stop(first).await;
    // What a machine without power leaves behind.
    std::fs::write(&cut_file, "cut").expect("it is ours");
    std::fs::write(folder.path().join("jobs/objects/half.part"), "half").expect("it is ours");
    std::fs::write(folder.path().join("jobs/objects/nobodys"), "unnamed").expect("it is ours");

    let second = durable(folder.path());
    until(|| objects(folder.path()).len() == 1).await;
    assert_eq!(objects(folder.path()), before);
    assert_eq!(second.ask(result(&whole, None)).await.text(), "HELLO");
    // Seen to fail: without the comparison of lengths.
    assert_eq!(second.ask(result(&cut, None)).await.status(), 404);
    assert_eq!(metric(&second, "nfrx_jobs_spool_bytes ").await, "5");
    stop(second).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_on_the_disk_never_looks_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = durable(folder.path());
    let id = with_result(&relay, "HELLO").await;
    let [file] = objects(folder.path()).try_into().expect("one object");
    std::fs::write(file, "HELLX").expect("it is ours");
    let mut reader = relay.client().await;
    let answer = reader.send(result(&id, None)).await;
    // Seen to fail: without the comparison of digests. Where it is noticed before the head was
    // sent, there is no answer at all.
    if let Ok(answer) = answer {
        assert!(answer.into_body().collect().await.is_err());
    }
    stop(relay).await;
}

#[tokio::test(start_paused = true)]
async fn refusals_are_served_as_zero_before_the_first() {
    let relay = relay(&[]);
    // Seen to fail: without the series at the start.
    for bound in ["queue", "waiting", "watchers", "channels", "spool"] {
        assert_eq!(metric(&relay, &format!("nfrx_jobs_refused_total{{bound=\"{bound}\"}} ")).await, "0");
    }
}
