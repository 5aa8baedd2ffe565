//! The jobs API through a whole server, over a paused clock.

mod jobs;
mod kept;
mod state;
mod transfers;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use nfrx_jobs::JobsFactory;
use nfrx_testkit::contract;
use nfrx_testkit::http::{Answer, HttpClient, get, post};
use nfrx_testkit::relay::{API_KEY, Relay, WORKER_KEY, config, set_options};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn keeps_the_contract_of_plugins() {
    contract::check(|| Box::new(JobsFactory)).await;
}

/// A server with jobs and nothing else.
fn relay(options: &[(&str, &str)]) -> Relay {
    let mut config = config(&[]);
    set_options(&mut config, &JobsFactory, options);
    Relay::with(config, vec![Box::new(JobsFactory)])
}

/// Asks as a client.
async fn client(relay: &Relay, path: &str, body: &Value) -> Answer {
    relay.ask(post(path, Some(API_KEY), body)).await
}

/// Asks as a worker.
async fn worker(relay: &Relay, path: &str, body: &Value) -> Answer {
    relay.ask(post(path, Some(WORKER_KEY), body)).await
}

/// Makes a job and gives its id.
async fn make(relay: &Relay, body: &Value) -> String {
    let answer = client(relay, "/api/jobs", body).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["job_id"].as_str().expect("an id").to_owned()
}

/// Claims a job, which must be there.
async fn claim(relay: &Relay, body: &Value) -> Value {
    let answer = worker(relay, "/api/jobs/claim", body).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()
}

/// The job as its client sees it.
async fn show(relay: &Relay, id: &str) -> Value {
    relay.ask(get(&format!("/api/jobs/{id}"), Some(API_KEY))).await.json()
}

/// A request without a body of JSON.
fn raw(method: &str, path: &str, key: &str, body: &'static str) -> Request<Bytes> {
    let builder = Request::builder().method(method).uri(path).header("host", "relay.test");
    builder.header("authorization", format!("Bearer {key}")).body(Bytes::from(body)).expect("a request")
}

/// A request that goes on by itself; await it for the answer.
async fn start(relay: &Relay, request: Request<Bytes>) -> tokio::task::JoinSet<Option<Answer>> {
    let mut client: HttpClient = relay.client().await;
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move { client.ask(request).await.ok() });
    task
}

/// The answer of such a request; `None` if it broke off.
async fn answer(mut task: tokio::task::JoinSet<Option<Answer>>) -> Option<Answer> {
    task.join_next().await.expect("it was started").expect("no panic")
}

/// Lets everything that is ready run.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// The events of a stream so far, until `last` is among them.
async fn events_until(body: &mut hyper::body::Incoming, last: &str) -> String {
    use http_body_util::BodyExt as _;
    let mut text = String::new();
    while !text.contains(last) {
        let frame = body.frame().await.expect("the stream goes on").expect("no error");
        text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap_or_default()));
    }
    text
}

/// A job with nothing special about it.
fn plain() -> Value {
    json!({ "type": "demo.echo", "metadata": { "name": "a.txt" } })
}
