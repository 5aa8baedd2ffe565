//! Relays and clients as the tests use them, and how answers are looked at.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use nfrx_conformance::backend::{Asked, Backend};
use nfrx_conformance::worker::find;
use nfrx_testkit::http::{Answer, post};
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::{
    API_KEY, AgentPlan, Carrier, Dialer, Kind, Relay, RunningAgent, ServerConfig, config, patiently,
};
use serde_json::{Value, json};

pub(crate) const CHAT: &str = "/api/llm/v1/chat/completions";

/// A server with a key on each side.
pub(crate) fn relay() -> Relay {
    Relay::start(config(&[]))
}

/// A chat request for a model; `members` are added to its body.
pub(crate) fn chat(model: &str, members: &Value) -> Request<Bytes> {
    chat_at(CHAT, model, members)
}

/// The same at another path.
pub(crate) fn chat_at(path: &str, model: &str, members: &Value) -> Request<Bytes> {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] });
    for (name, value) in members.as_object().expect("members") {
        body[name] = value.clone();
    }
    post(path, Some(API_KEY), &body)
}

/// A request of any kind, with the right key.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Bytes> {
    let key = format!("Bearer {API_KEY}");
    let mut request = Request::builder().method(method).uri(path).header("host", "relay.test");
    request = request.header("authorization", key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("tests write valid requests")
}

/// Sends a request and lets somebody else act meanwhile.
pub(crate) async fn while_asking<T>(
    relay: &Relay,
    request: Request<Bytes>,
    act: impl Future<Output = T>,
) -> (Answer, T) {
    patiently(async { tokio::join!(relay.ask(request), act) }).await
}

/// Sends a request whose answer is read to its end, be it clean or not: status, body, and
/// whether the end was clean. Without any answer the status is 0.
pub(crate) async fn read(relay: &Relay, request: Request<Bytes>) -> (u16, String, bool) {
    use http_body_util::BodyExt as _;
    let mut client = relay.client().await;
    let Ok(answer) = patiently(client.send(request)).await else { return (0, String::new(), false) };
    let (status, mut body, mut text) = (answer.status().as_u16(), answer.into_body(), Vec::new());
    let clean = loop {
        match patiently(body.frame()).await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    };
    (status, String::from_utf8_lossy(&text).into_owned(), clean)
}

/// An error of style TEXT: the message and one line end.
#[track_caller]
pub(crate) fn is_text(answer: &Answer, status: u16, message: &str) {
    assert_eq!((answer.status().as_u16(), answer.text()), (status, format!("{message}\n")));
    assert_eq!(header(answer, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(header(answer, "x-content-type-options"), "nosniff");
}

/// An error of style JSON: the code and no line end.
#[track_caller]
pub(crate) fn is_json(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status().as_u16(), answer.text()), (status, format!("{{\"error\":\"{code}\"}}")));
    assert_eq!(header(answer, "content-type"), "application/json");
}

/// A header as text; empty when it is not there.
pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.head.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A relay, an agent of ours, and a backend in the test's hands.
pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) backend: Backend,
    _agent: RunningAgent,
}

impl World {
    /// An agent `a` over this carrier, whose backend lists these models.
    pub(crate) async fn new(carrier: Carrier, kind: Kind, slots: u32, models: &[&str]) -> Self {
        let plan = AgentPlan { carrier, ..AgentPlan::of(kind, "a", slots) };
        Self::with(config(&[]), plan, models).await
    }

    /// The same with a server's configuration and an agent's plan.
    pub(crate) async fn with(config: ServerConfig, plan: AgentPlan, models: &[&str]) -> Self {
        let (relay, backend) = (Relay::start(config), Backend::new(models));
        let (plugin, slots) = (plan.kind.plugin(), plan.max_concurrency);
        let agent = join(&relay, plan, &backend);
        relay
            .until_part(plugin, |part| {
                find(part, "a").is_some_and(|worker| worker["max_concurrency"] == slots)
            })
            .await;
        Self { relay, backend, _agent: agent }
    }

    /// Sends a request whose backend answers as `act` says.
    pub(crate) async fn answered(&mut self, request: Request<Bytes>, act: impl FnOnce(Asked)) -> Answer {
        let answering = async { act(self.backend.asked().await) };
        patiently(async { tokio::join!(self.relay.ask(request), answering).0 }).await
    }
}

/// Starts an agent between a relay and a backend.
pub(crate) fn join(relay: &Relay, plan: AgentPlan, backend: &Backend) -> RunningAgent {
    let dialer = Dialer::new(&relay.entrance(), PipeOptions::default()).carrying(plan.carrier);
    plan.start_between(Arc::new(dialer), backend.door())
}
