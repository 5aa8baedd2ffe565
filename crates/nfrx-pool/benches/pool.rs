//! What the pool's two hot steps cost: taking and freeing a slot, and handing a freed slot
//! to the next waiter, which includes waking it. `cargo bench -p nfrx-pool`.
//!
//! Prints medians; times on a busy machine say little alone, their growth from row to row
//! says whether the cost is flat.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use nfrx_pool::{AliasScorer, Pool, PoolConfig, Takeover};
use nfrx_spi::{
    Body, BoxFuture, BuildInfo, CallError, Caller, Clock, CloseReason, Joined, Moment, Newcomer,
    PluginStatus, Registration, Scopes, ServerState, Tunnel, WorkerIntake,
};
use tokio::time::Instant;

/// Models in all, and how many of them each worker offers.
const MODELS: usize = 1000;
const MODELS_EACH: usize = 4;

struct Idle;

impl Clock for Idle {
    fn now(&self) -> Moment {
        Moment::default()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl ServerState for Idle {
    fn is_draining(&self) -> bool {
        false
    }

    fn draining(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn set_status(&self, _: PluginStatus) {}
}

impl Tunnel for Idle {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Lost)))
    }

    fn last_seen(&self) -> Moment {
        Moment::default()
    }

    fn round_trip(&self) -> Option<Duration> {
        None
    }

    fn carrier(&self) -> &'static str {
        "none"
    }

    fn drain(&self) {}

    fn close(&self, _: CloseReason) {}
}

/// Counts wake-ups.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn pool(workers: usize, slots: u32, queue_max: usize) -> (Pool, Vec<Joined>) {
    let pool = Pool::new(PoolConfig {
        plugin: "llm",
        scorer: Arc::new(AliasScorer),
        min_score: 0.01,
        queue_max,
        workers_max: workers,
        takeover: Takeover::Refuse,
        clock: Arc::new(Idle),
        state: Arc::new(Idle),
        build: BuildInfo { version: "bench", sha: "", date: "" },
        metrics: Arc::default(),
        observers: Vec::new(),
    });
    let caller = Caller {
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        key: None,
        scopes: Arc::new(Scopes::default()),
    };
    let joined = (0..workers).map(|nth| {
        let models = (0..MODELS_EACH).map(|m| model((nth * 7 + m * 251) % MODELS)).collect();
        let registration = Registration {
            worker_id: format!("w{nth}"),
            models,
            max_concurrency: slots,
            ..Registration::default()
        };
        let (tunnel, caller) = (Arc::new(Idle), caller.clone());
        let joined = pool
            .join(Newcomer { registration, tunnel, caller, resume: None })
            .unwrap_or_else(|refused| panic!("{refused}"));
        joined.membership.open();
        joined
    });
    let joined = joined.collect();
    (pool, joined)
}

fn model(nth: usize) -> String {
    format!("family{}:7b-q{nth}", nth / 4)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Wants, takes and frees a slot.
fn take(workers: usize) -> Duration {
    let (pool, _joined) = pool(workers, 4, 0);
    let models: Vec<Arc<str>> = (0..workers.min(200)).map(|nth| model((nth * 7) % MODELS).into()).collect();
    let round = || {
        let start = Instant::now();
        for model in &models {
            drop(pool.take(&pool.want(Arc::clone(model))).unwrap_or_else(|error| panic!("{error}")));
        }
        start.elapsed() / u32::try_from(models.len()).unwrap_or(1)
    };
    round();
    median((0..51).map(|_| round()).collect())
}

/// From the drop of a slot to the next waiter's having it, with `waiting` in the queue.
fn hand_over(waiting: usize) -> Duration {
    let (pool, _joined) = pool(1, 1, waiting);
    let want = || pool.want(model(0));
    let mut slot = Some(pool.take(&want()).unwrap_or_else(|error| panic!("{error}")));
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    let mut waiters: std::collections::VecDeque<_> =
        (0..waiting).map(|_| Box::pin(pool.wait(&want()))).collect();
    for waiter in &mut waiters {
        assert!(waiter.as_mut().poll(&mut cx).is_pending(), "nobody gets a slot that is taken");
    }
    let times = (0..waiting.min(1000)).filter_map(|_| {
        let mut next = waiters.pop_front()?;
        let rung = bell.0.load(Ordering::Relaxed);
        let start = Instant::now();
        slot.take();
        let Poll::Ready(Ok(handed)) = pin!(next.as_mut()).poll(&mut cx) else { panic!("it was its turn") };
        let took = start.elapsed();
        assert_eq!(bell.0.load(Ordering::Relaxed), rung + 1, "one waiter is woken");
        slot = Some(handed);
        Some(took)
    });
    median(times.collect())
}

fn main() {
    println!("want, take and free a slot; {MODELS} models, {MODELS_EACH} a worker");
    for workers in [10, 100, 1000, 10_000] {
        println!("  {workers:>6} workers  {:>10.2?}", take(workers));
    }
    println!("hand a freed slot over to the next waiter");
    for waiting in [10, 100, 1000, 10_000] {
        println!("  {waiting:>6} waiting  {:>10.2?}", hand_over(waiting));
    }
}
