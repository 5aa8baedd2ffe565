//! Several ways to one server: they are tried in their order until one works, which is then
//! used. While it can't be reached, and only then, the others are tried again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use nfrx_runtime::Drain;
use nfrx_spi::{Body, BoxFuture, CallError};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::agent::talk::{self, TalkError};
use crate::agent::upstream::Upstream;

/// A server that may be reached in several ways.
pub(in crate::agent) struct FirstOf(Arc<Inner>);

struct Inner {
    server: Box<str>,
    ways: Vec<(&'static str, Arc<dyn Upstream>)>,
    init_max: Duration,
    drain: Drain,
    status: watch::Sender<Status>,
    /// Who decides that the ways are to be tried does it alone.
    deciding: Mutex<()>,
}

#[derive(Clone)]
enum Status {
    /// The ways are being tried; this one was used before.
    Trying(Option<usize>),
    /// This one is used.
    Chosen(usize),
    /// None works, and why.
    None(String),
}

impl FirstOf {
    /// The server called `server` in logs, by these ways. None is tried before it is asked
    /// something; that is a task of `drain`.
    pub(in crate::agent) fn new(
        server: &str,
        ways: Vec<(&'static str, Arc<dyn Upstream>)>,
        init_max: Duration,
        drain: &Drain,
    ) -> Self {
        let status = watch::Sender::new(Status::None(String::new()));
        let (server, drain) = (server.into(), drain.clone());
        Self(Arc::new(Inner { server, ways, init_max, drain, status, deciding: Mutex::default() }))
    }
}

impl Inner {
    fn deciding(&self) -> MutexGuard<'_, ()> {
        self.deciding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way that works, as soon as it is known.
    async fn way(self: &Arc<Self>) -> Result<usize, String> {
        self.try_unless(|status| matches!(status, Status::Trying(_) | Status::Chosen(_)));
        let mut status = self.status.subscribe();
        let known = status.wait_for(|status| !matches!(status, Status::Trying(_))).await;
        match known.map(|status| status.clone()) {
            Ok(Status::Chosen(way)) => Ok(way),
            Ok(Status::None(why)) => Err(why),
            // The sender is ours, and the wait was for something else.
            Ok(Status::Trying(_)) | Err(_) => Err(String::new()),
        }
    }

    /// Has the ways tried, unless the status is such that there is no need.
    fn try_unless(self: &Arc<Self>, is_fine: impl Fn(&Status) -> bool) {
        let _alone = self.deciding();
        let before = match &*self.status.borrow() {
            status if is_fine(status) => return,
            Status::Trying(before) => *before,
            Status::Chosen(way) => Some(*way),
            Status::None(_) => None,
        };
        self.status.send_replace(Status::Trying(before));
        let inner = Arc::clone(self);
        self.drain.spawn("mcp transports", async move {
            let found = inner.first().await;
            let next = match (found, before) {
                (Ok(way), _) => Status::Chosen(way),
                // It is no worse than the others, and requests fail for its own reasons.
                (Err(_), Some(before)) => Status::Chosen(before),
                (Err(why), None) => Status::None(why),
            };
            if let Status::Chosen(way) = next
                && before != Some(way)
            {
                info!(server = &*inner.server, transport = inner.ways[way].0, "the MCP server is spoken to");
            }
            inner.status.send_replace(next);
        });
    }

    /// Tries all ways in their order.
    async fn first(&self) -> Result<usize, String> {
        let mut problems = Vec::new();
        for (at, (name, upstream)) in self.ways.iter().enumerate() {
            match talk::greet(upstream, self.init_max).await {
                Ok(()) => return Ok(at),
                Err(error) if wants_login(&error) => return Ok(at),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
        let problems = problems.join("; ");
        warn!(server = &*self.server, problems, "the MCP server can't be spoken to in any way");
        Err(problems)
    }
}

/// It is there, and wants of its callers what the agent has not got.
fn wants_login(error: &TalkError) -> bool {
    matches!(error.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
}

impl Upstream for FirstOf {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let way = inner.way().await.map_err(|_| CallError::Unreachable)?;
            inner.ways[way].1.handle(request).await
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let way = self.0.way().await?;
            let Err(problem) = self.0.ways[way].1.probe().await else { return Ok(()) };
            self.0.try_unless(|status| !matches!(status, Status::Chosen(chosen) if *chosen == way));
            match self.0.way().await {
                Ok(other) if other != way => Ok(()),
                _ => Err(problem),
            }
        })
    }

    fn last_words(&self) -> Option<Vec<String>> {
        self.0.ways.iter().find_map(|(_, way)| way.last_words())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// A way that works or not, as a test says, and counts what it is asked.
    #[derive(Clone)]
    struct Fake {
        works: Arc<AtomicBool>,
        status: u16,
        asked: Arc<AtomicUsize>,
    }

    impl Fake {
        fn new(works: bool, status: u16) -> Self {
            Self { works: Arc::new(works.into()), status, asked: Arc::default() }
        }

        fn set(&self, works: bool) {
            self.works.store(works, Ordering::Relaxed);
        }

        fn asked(&self) -> usize {
            self.asked.swap(0, Ordering::Relaxed)
        }
    }

    impl Upstream for Fake {
        fn handle(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let body = r#"{"jsonrpc":"2.0","id":"nfrx-agent","result":{"protocolVersion":"2025-06-18"}}"#;
            let mut answer = Response::new(Body::from(body));
            if !self.works.load(Ordering::Relaxed) {
                answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::from_u16(self.status).expect("a good status");
            }
            Box::pin(async { Ok(answer) })
        }

        fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
            let works = self.works.load(Ordering::Relaxed);
            Box::pin(async move { works.then_some(()).ok_or_else(|| "down".to_owned()) })
        }
    }

    fn of(ways: &[&Fake], drain: &Drain) -> FirstOf {
        let ways = ways.iter().map(|way| ("fake", Arc::new((*way).clone()) as Arc<dyn Upstream>)).collect();
        FirstOf::new("clock", ways, Duration::from_secs(5), drain)
    }

    async fn ask(server: &FirstOf) -> Result<u16, CallError> {
        server.handle(Request::new(Body::empty())).await.map(|answer| answer.status().as_u16())
    }

    // Seen to fail: with the last way in place of the first, and with the choice made anew for
    // each request.
    #[tokio::test(start_paused = true)]
    async fn the_first_way_that_works_is_used_until_it_fails_and_another_works() {
        let (drain, [a, b]) = (Drain::new(), [Fake::new(false, 405), Fake::new(true, 500)]);
        let server = of(&[&a, &b], &drain);
        let (one, two) = tokio::join!(ask(&server), ask(&server));
        assert_eq!((one, two), (Ok(200), Ok(200)));
        // `initialize` and `server/discover`; the greeting of the other, and two requests.
        assert_eq!((a.asked(), b.asked()), (2, 4));
        a.set(true);
        assert_eq!((ask(&server).await, server.probe().await), (Ok(200), Ok(())));
        assert_eq!((a.asked(), b.asked()), (0, 1), "what works stays");
        b.set(false);
        assert_eq!(ask(&server).await, Ok(500), "nobody has looked yet");
        assert_eq!((server.probe().await, ask(&server).await), (Ok(()), Ok(200)));
        a.set(false);
        assert_eq!((server.probe().await, ask(&server).await), (Err("down".to_owned()), Ok(405)));
    }

    // Seen to fail: with the first failure kept for ever.
    #[tokio::test(start_paused = true)]
    async fn while_none_works_each_request_asks_again() {
        let (drain, [a, b]) = (Drain::new(), [Fake::new(false, 404), Fake::new(false, 404)]);
        let server = of(&[&a, &b], &drain);
        assert_eq!(ask(&server).await, Err(CallError::Unreachable));
        let problem = server.probe().await.expect_err("none works");
        assert_eq!(problem.matches("fake: it answered with status 404").count(), 2, "{problem}");
        b.set(true);
        assert_eq!(ask(&server).await, Ok(200));
    }

    // Seen to fail: with every error taken for a way that does not work.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_wants_a_login_is_there() {
        let (drain, [a, b]) = (Drain::new(), [Fake::new(false, 401), Fake::new(true, 500)]);
        assert_eq!(ask(&of(&[&a, &b], &drain)).await, Ok(401));
    }
}
