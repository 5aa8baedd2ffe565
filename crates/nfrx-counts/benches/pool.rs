//! What the pool's two hot steps cost: taking and freeing a slot, and handing a freed slot
//! to the next waiter, which includes waking it. `cargo bench -p nfrx-counts`.
//!
//! Prints medians; times on a busy machine say little alone, their growth from row to row
//! says whether the cost is flat.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use nfrx_counts::pool::{MODELS, MODELS_EACH, model, pool};
use tokio::time::Instant;

/// Counts wake-ups.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
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
