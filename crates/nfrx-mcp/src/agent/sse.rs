//! A server of the protocol's first revision over HTTP (2024-11-05): it says everything on one
//! stream of events, and is told everything by POSTs to an address that it names there.
//!
//! Clients see a Streamable HTTP server: each of their sessions has a stream of its own, and
//! what is said on it is sorted out as the messages of a process are, by the same sessions.
//! That address must lie at the server's own host and port, or nothing is sent to it.

mod events;
mod link;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use nfrx_runtime::Drain;
use nfrx_spi::{Body, BoxFuture, CallError};

use super::http_upstream::HttpUpstream;
use super::stdio::{Eras, Launch, Process, SessionLimits, StdioSettings, StdioUpstream};
use super::upstream::Upstream;

pub(super) use events::Events;
pub(super) use link::write;

/// How long a server may take to answer `initialize`.
const START_MAX: Duration = Duration::from_secs(60);

/// One server.
pub(super) struct SseUpstream {
    server: HttpUpstream,
    sessions: StdioUpstream,
}

impl SseUpstream {
    /// The server whose stream is at the address of `server`, called `name` in logs. Its
    /// sessions are tasks of `drain`, bounded as those over stdio are.
    pub(super) fn new(name: &str, server: HttpUpstream, settings: &StdioSettings, drain: &Drain) -> Self {
        let limits = SessionLimits { start_max: START_MAX, ..settings.limits() };
        let launch = Arc::new(Streams(server.clone()));
        Self { server, sessions: StdioUpstream::with_launch(name, launch, Eras::Legacy, limits, drain) }
    }
}

impl Upstream for SseUpstream {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        self.sessions.handle(request)
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        self.server.probe()
    }
}

/// Opens a stream for each session.
struct Streams(HttpUpstream);

impl Launch for Streams {
    fn launch(&self) -> io::Result<Process> {
        Ok(Process::of_task(|told, says| link::run(self.0.clone(), told, says)))
    }
}
