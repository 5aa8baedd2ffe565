//! What the tests of this crate share: a clock that stands still until told, tunnels that
//! answer as told, and a small notation for pools.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use nfrx_spi::{
    Body, BodyError, BoxFuture, BuildInfo, CallError, Caller, Clock, CloseReason, JoinRefused, Joined,
    Moment, Newcomer, PluginStatus, Registration, Scopes, ServerState, Tunnel, WorkerIntake,
};

use crate::{AliasScorer, Pool, PoolConfig, RequestMetrics, Takeover};

/// Stands still until [`advance`](Self::advance).
#[derive(Default)]
pub(crate) struct FakeClock {
    now: Mutex<Duration>,
    sleepers: Mutex<Vec<Waker>>,
    pub(crate) sleeps: AtomicUsize,
}

impl FakeClock {
    pub(crate) fn advance(&self, span: Duration) {
        *self.now.lock().unwrap() += span;
        self.sleepers.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    fn elapsed(&self) -> Duration {
        *self.now.lock().unwrap()
    }
}

/// The handle that pools are given.
pub(crate) struct SharedClock(pub(crate) Arc<FakeClock>);

impl Clock for SharedClock {
    fn now(&self) -> Moment {
        Moment::from_start(self.0.elapsed())
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.0.elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let clock = Arc::clone(&self.0);
        clock.sleeps.fetch_add(1, Ordering::Relaxed);
        let due = clock.elapsed() + span;
        Box::pin(poll_fn(move |cx| {
            if clock.elapsed() >= due {
                return Poll::Ready(());
            }
            clock.sleepers.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        }))
    }
}

/// Notes what the server is told.
#[derive(Default)]
pub(crate) struct FakeServer(pub(crate) Mutex<Vec<PluginStatus>>);

impl ServerState for FakeServer {
    fn is_draining(&self) -> bool {
        false
    }

    fn draining(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn set_status(&self, status: PluginStatus) {
        self.0.lock().unwrap().push(status);
    }
}

/// How a fake worker answers one call.
pub(crate) enum Reply {
    Fails(CallError),
    /// Takes a piece of the request's body first.
    FailsInside(CallError),
    /// Takes pieces of the request's body as they come, and never answers.
    Reads,
    /// A status and what the body gives, one after the other.
    Answers(u16, Vec<Piece>),
    Never,
}

/// A step of a fake body.
pub(crate) enum Piece {
    Bytes(&'static str),
    Breaks(BodyError),
    /// Nothing more comes, and no end either.
    Hangs,
}

/// A tunnel that answers as told, and with an empty 200 when told nothing.
pub(crate) struct FakeTunnel {
    pub(crate) carrier: &'static str,
    pub(crate) replies: Mutex<VecDeque<Reply>>,
    pub(crate) requests: Mutex<Vec<Request<Option<Bytes>>>>,
    pub(crate) closed: Mutex<Vec<CloseReason>>,
    pub(crate) drained: AtomicUsize,
    pub(crate) seen: Mutex<Moment>,
    /// Calls and bodies under way.
    pub(crate) open: Arc<AtomicUsize>,
}

impl FakeTunnel {
    pub(crate) fn new(carrier: &'static str) -> Arc<Self> {
        Arc::new(Self {
            carrier,
            replies: Mutex::default(),
            requests: Mutex::default(),
            closed: Mutex::default(),
            drained: AtomicUsize::new(0),
            seen: Mutex::default(),
            open: Arc::default(),
        })
    }

    pub(crate) fn will(&self, reply: Reply) {
        self.replies.lock().unwrap().push_back(reply);
    }

    pub(crate) fn calls(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// Counts one call or body while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(open))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct FakeBody(VecDeque<Piece>, #[expect(dead_code, reason = "counts by living")] Alive);

impl http_body::Body for FakeBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.0.pop_front() {
            Some(Piece::Bytes(text)) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
            }
            Some(Piece::Breaks(error)) => Poll::Ready(Some(Err(error))),
            Some(Piece::Hangs) => {
                self.0.push_front(Piece::Hangs);
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

impl Tunnel for FakeTunnel {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let (head, body) = request.into_parts();
        self.requests.lock().unwrap().push(Request::from_parts(head, body.as_bytes()));
        let reply = self.replies.lock().unwrap().pop_front();
        let alive = Alive::new(&self.open);
        match reply {
            Some(Reply::Fails(error)) => Box::pin(std::future::ready(Err(error))),
            Some(Reply::FailsInside(error)) => Box::pin(async move {
                let (mut body, _alive) = (body, alive);
                poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                Err(error)
            }),
            Some(Reply::Reads) => Box::pin(async move {
                let (mut body, _alive) = (body, alive);
                while poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() {}
                std::future::pending().await
            }),
            Some(Reply::Never) => Box::pin(async move {
                let _alive = alive;
                std::future::pending().await
            }),
            Some(Reply::Answers(status, pieces)) => {
                let mut response = Response::new(Body::stream(FakeBody(pieces.into(), alive)));
                *response.status_mut() = status.try_into().unwrap();
                Box::pin(std::future::ready(Ok(response)))
            }
            None => Box::pin(std::future::ready(Ok(Response::new(Body::empty())))),
        }
    }

    fn last_seen(&self) -> Moment {
        *self.seen.lock().unwrap()
    }

    fn round_trip(&self) -> Option<Duration> {
        Some(Duration::from_micros(1500))
    }

    fn carrier(&self) -> &'static str {
        self.carrier
    }

    fn drain(&self) {
        self.drained.fetch_add(1, Ordering::Relaxed);
    }

    fn close(&self, reason: CloseReason) {
        self.closed.lock().unwrap().push(reason);
    }
}

/// A pool with everything around it faked.
pub(crate) struct Bench {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) server: Arc<FakeServer>,
    pub(crate) metrics: Arc<RequestMetrics>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(set: impl FnOnce(&mut PoolConfig)) -> Self {
        let clock = Arc::<FakeClock>::default();
        let server = Arc::<FakeServer>::default();
        let metrics = Arc::<RequestMetrics>::default();
        let mut config = PoolConfig {
            plugin: "llm",
            scorer: Arc::new(AliasScorer),
            min_score: 0.01,
            queue_max: 100,
            workers_max: 100,
            takeover: Takeover::Resume,
            clock: Arc::new(SharedClock(Arc::clone(&clock))),
            state: Arc::clone(&server) as Arc<dyn ServerState>,
            build: BuildInfo { version: "v9", sha: "", date: "" },
            metrics: Arc::clone(&metrics),
            observers: Vec::new(),
        };
        set(&mut config);
        Self { pool: Pool::new(config), clock, server, metrics }
    }

    /// Joins and opens a worker.
    pub(crate) fn join(&self, id: &str, models: &[&str], slots: u32) -> (Joined, Arc<FakeTunnel>) {
        let tunnel = FakeTunnel::new("nfrx.h2");
        let joined = self.pool.join(newcomer(id, models, slots, &tunnel)).unwrap();
        joined.membership.open();
        (joined, tunnel)
    }

    pub(crate) fn try_join(&self, newcomer: Newcomer) -> Result<Joined, JoinRefused> {
        self.pool.join(newcomer)
    }
}

pub(crate) fn newcomer(id: &str, models: &[&str], slots: u32, tunnel: &Arc<FakeTunnel>) -> Newcomer {
    newcomer_over(id, models, slots, Arc::clone(tunnel) as Arc<dyn Tunnel>)
}

pub(crate) fn newcomer_over(id: &str, models: &[&str], slots: u32, tunnel: Arc<dyn Tunnel>) -> Newcomer {
    Newcomer {
        registration: Registration {
            worker_id: id.to_owned(),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            max_concurrency: slots,
            ..Registration::default()
        },
        tunnel,
        caller: Caller {
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            key: None,
            scopes: Arc::new(Scopes::default()),
        },
        resume: None,
    }
}

/// Polls once.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
