//! A server that speaks over its standard input and output, as a Streamable HTTP server.
//!
//! Which era a server belongs to is found by asking it. In the legacy era each session has a
//! process of its own; in the modern era all clients share one. Either way a client sees a
//! server that speaks HTTP by itself, with all the duties that the protocol lays on one.
//! Processes and sessions belong to the agent, not to its tunnel: they are still there when
//! a tunnel was lost and is back. Who has no processes, but what can be spoken to as one,
//! hands it to the same machinery, as `super::sse` and `super::joined` do.

#![expect(clippy::result_large_err, reason = "a refusal is the whole answer, made once a request")]

mod answer;
mod child;
mod flow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod launch;
mod lines;
pub(super) mod message;
mod mirror;
mod modern;
mod post;
mod session;
mod sessions;
mod settings;
mod shared;
mod starts;
mod stderr;
mod streams;
mod supervisor;
#[cfg(test)]
mod tests;
mod tools;

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use nfrx_runtime::Drain;
use nfrx_spi::{Body, BoxFuture, CallError};
use tokio::time::Instant;

use super::upstream::Upstream;
use launch::Supervised;
use message::{Kind, Message};
use modern::Asked;
use post::Posted;
use sessions::{Nursery, SESSION_ID, Sessions};
use shared::{Era, NoChild, Shared};
use stderr::LastWords;

pub(super) use child::LINE_BYTES_MAX;
pub use launch::ServerCommand;
pub(super) use launch::{Launch, Process};
pub(super) use lines::{Line, Lines};
pub(super) use modern::{META_CAPABILITIES, META_CLIENT, META_VERSION};
pub(super) use sessions::SessionLimits;
pub use settings::{StdioSettings, stdio_specs};
pub use supervisor::{SUPERVISE, Supervisor, supervise};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Which eras of the protocol a server may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eras {
    Both,
    Legacy,
}

/// One server. Clones share it; when the last is gone, its processes end.
#[derive(Clone)]
pub(super) struct StdioUpstream(Arc<Server>);

struct Server {
    sessions: Sessions,
    /// What the modern era is served by; `None` where there is only the legacy one.
    shared: Option<Shared>,
    /// What all its processes said.
    words: LastWords,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.sessions.close_all();
        self.shared.iter().for_each(Shared::stop);
    }
}

impl StdioUpstream {
    /// The server of this command, called `server` in logs. Its processes are tasks of
    /// `drain`; none is started before it is asked something.
    pub(super) fn new(server: &str, command: ServerCommand, settings: &StdioSettings, drain: &Drain) -> Self {
        let launch = Arc::new(Supervised { supervisor: settings.supervisor.clone(), command });
        Self::with_launch(server, launch, Eras::Both, settings.limits(), drain)
    }

    /// The same with processes, or what is spoken to as they are, that come into being by other
    /// means.
    pub(super) fn with_launch(
        server: &str,
        launch: Arc<dyn Launch>,
        eras: Eras,
        limits: SessionLimits,
        drain: &Drain,
    ) -> Self {
        let words = LastWords::default();
        let nursery = Nursery { server: server.into(), launch, drain: drain.clone(), words: words.clone() };
        let sessions = Sessions::new(nursery.clone(), limits);
        let shared = (eras == Eras::Both).then(|| Shared::new(nursery));
        Self(Arc::new(Server { sessions, shared, words }))
    }
}

impl Server {
    async fn serve(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (parts, body) = request.into_parts();
        match parts.method {
            Method::POST => self.post(&parts.headers, body).await,
            Method::GET => Ok(self.get(&parts.headers)),
            Method::DELETE => Ok(self.delete(&parts.headers)),
            _ => Err(CallError::Refused),
        }
    }

    async fn post(&self, headers: &HeaderMap, body: Body) -> Result<Response<Body>, CallError> {
        if let Err(refused) = post::check_head(headers) {
            return Ok(refused);
        }
        let text = match post::whole(body).await? {
            Ok(text) => text,
            Err(refused) => return Ok(refused),
        };
        Ok(match post::read(headers, &text) {
            Err(refused) => refused,
            Ok(Posted::Initialize(message)) => self.sessions.open(&message).await,
            Ok(Posted::Modern(asked)) => self.modern(headers, asked).await,
            Ok(Posted::ModernNote) => answer::accepted(),
            Ok(Posted::Legacy(messages)) => match headers.get(SESSION_ID) {
                None => session_needed(),
                Some(id) => match self.sessions.find(id) {
                    Some(session) => session.post(messages).await,
                    None => answer::no_session(),
                },
            },
        })
    }

    async fn modern(&self, headers: &HeaderMap, asked: Asked) -> Response<Body> {
        let id = asked.message.raw_id();
        let Some(shared) = &self.shared else { return answer::not_spoken(id) };
        match shared.era().await {
            Ok(Era::Legacy) => answer::not_spoken(id),
            Ok(Era::Modern(child)) => {
                let known = child.tools();
                let name = asked.message.params().and_then(|params| params.text("name"));
                let schema = name.as_deref().and_then(|name| known.schema(name));
                match mirror::check(headers, &asked.message, schema) {
                    Err(why) => post::mismatch(id, &why),
                    Ok(()) => child.call(asked).await,
                }
            }
            Err(NoChild::Failed(why)) => answer::failed(id, &why),
            Err(NoChild::Waiting(failure)) => {
                let wait = failure.until.saturating_duration_since(Instant::now());
                answer::busy(id, &failure.why, wait.as_secs() + 1)
            }
        }
    }

    fn get(&self, headers: &HeaderMap) -> Response<Body> {
        if !post::accepts(headers, "text/event-stream") {
            return answer::text(StatusCode::NOT_ACCEPTABLE, "the client must accept text/event-stream\n");
        }
        let Some(id) = headers.get(SESSION_ID) else { return without_session(headers) };
        let Some(session) = self.sessions.find(id) else { return answer::no_session() };
        session.get(headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default()))
    }

    fn delete(&self, headers: &HeaderMap) -> Response<Body> {
        let Some(id) = headers.get(SESSION_ID) else { return without_session(headers) };
        if self.sessions.close(id) { answer::deleted() } else { answer::no_session() }
    }
}

/// A GET or DELETE without a session: the modern era knows neither.
fn without_session(headers: &HeaderMap) -> Response<Body> {
    let version = headers.get(mirror::VERSION).and_then(|version| version.to_str().ok());
    match version {
        Some(version) if version >= modern::VERSION => answer::only_post(),
        _ => session_needed(),
    }
}

/// The answer to a message that did not reach its server, if it is a request.
pub(super) fn failure_of(line: &Bytes, why: &str) -> Option<Bytes> {
    let message = Message::parse(line)?;
    let is_request = matches!(message.kind, Kind::Request { .. });
    is_request.then(|| answer::failure(message.raw_id(), why))
}

fn session_needed() -> Response<Body> {
    answer::text(StatusCode::BAD_REQUEST, "the Mcp-Session-Id header is missing\n")
}

impl Upstream for StdioUpstream {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let server = Arc::clone(&self.0);
        Box::pin(async move { server.serve(request).await })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            match (self.0.sessions.starts().outcome(), &self.0.shared) {
                // Some servers do not stand the question for their era, but do serve.
                (Ok(true), _) | (Ok(false), None) => Ok(()),
                (Ok(false) | Err(_), Some(shared)) => shared.probe().await,
                (Err(why), None) => Err(why),
            }
        })
    }

    fn last_words(&self) -> Option<Vec<String>> {
        Some(self.0.words.lines())
    }
}
