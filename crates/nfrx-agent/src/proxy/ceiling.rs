//! The agent's own ceiling: never more requests at the backend than it was told to take,
//! whatever the relay believes (KD-66).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The relay counts a slot as free a moment before the agent does; a request that comes
/// in that moment is worth a short wait.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// More waiting than that means that the relay does not count at all.
const WAITING_MAX: usize = 64;

/// How many requests may be at the backend. Clones share it.
#[derive(Clone)]
pub struct Ceiling {
    free: Arc<Semaphore>,
    size: Arc<Mutex<Size>>,
    waiting: Arc<AtomicUsize>,
}

struct Size {
    limit: usize,
    /// Slots that were taken away while a request had them: their next release is their
    /// end.
    owed: usize,
}

/// The right to be at the backend; dropping it lets the next request in.
pub(crate) struct CeilingGuard {
    permit: Option<OwnedSemaphorePermit>,
    size: Arc<Mutex<Size>>,
}

impl Ceiling {
    /// A ceiling of `limit` requests.
    pub fn new(limit: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit)),
            size: Arc::new(Mutex::new(Size { limit, owed: 0 })),
            waiting: Arc::default(),
        }
    }

    /// Changes the ceiling; requests that are above a lower one end undisturbed.
    pub fn set(&self, limit: usize) {
        let mut size = lock(&self.size);
        if limit > size.limit {
            let more = limit - size.limit;
            let kept = more.min(size.owed);
            size.owed -= kept;
            self.free.add_permits(more - kept);
        } else {
            let less = size.limit - limit;
            size.owed += less - self.free.forget_permits(less);
        }
        size.limit = limit;
    }

    /// Lets a request in, at once or after a short wait; `None` when the wait is over or
    /// too many wait already.
    pub(crate) async fn enter(&self) -> Option<CeilingGuard> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(self.guard(permit));
        }
        let _waiting = Waiting::begin(&self.waiting)?;
        let acquired = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.free).acquire_owned()).await;
        Some(self.guard(acquired.ok()?.ok()?))
    }

    fn guard(&self, permit: OwnedSemaphorePermit) -> CeilingGuard {
        CeilingGuard { permit: Some(permit), size: Arc::clone(&self.size) }
    }
}

impl Drop for CeilingGuard {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut size = lock(&self.size);
        if size.owed > 0 {
            size.owed -= 1;
            permit.forget();
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock(size: &Mutex<Size>) -> MutexGuard<'_, Size> {
    size.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_over_the_ceiling_waits_a_second_and_no_longer() {
        let ceiling = Ceiling::new(1);
        let first = ceiling.enter().await.expect("the only slot");
        // Seen to fail: without the timeout this waits for ever.
        assert!(ceiling.enter().await.is_none());
        let (second, ()) = tokio::join!(ceiling.enter(), async { drop(first) });
        assert!(second.is_some(), "the freed slot goes to who waits");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_the_bound() {
        let ceiling = Ceiling::new(0);
        let mut waiting = futures_util::stream::FuturesUnordered::new();
        for _ in 0..WAITING_MAX {
            waiting.push(ceiling.enter());
        }
        assert!(futures_util::poll!(futures_util::StreamExt::next(&mut waiting)).is_pending());
        let before = tokio::time::Instant::now();
        assert!(ceiling.enter().await.is_none());
        assert_eq!(before.elapsed(), Duration::ZERO, "refused without a wait");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lowered_ceiling_holds_once_the_surplus_has_ended() {
        let ceiling = Ceiling::new(2);
        let (first, second) = (ceiling.enter().await, ceiling.enter().await);
        ceiling.set(1);
        drop(first);
        // Seen to fail: without `owed` the first slot is free again.
        assert!(ceiling.enter().await.is_none());
        drop(second);
        let third = ceiling.enter().await.expect("one slot is left");
        assert!(ceiling.enter().await.is_none());
        ceiling.set(3);
        let more = (ceiling.enter().await, ceiling.enter().await);
        assert!(more.0.is_some() && more.1.is_some());
        assert!(ceiling.enter().await.is_none());
        drop(third);
    }

    #[tokio::test(start_paused = true)]
    async fn raising_takes_back_what_was_lowered_in_use() {
        let ceiling = Ceiling::new(2);
        let held = (ceiling.enter().await, ceiling.enter().await);
        ceiling.set(1);
        ceiling.set(2);
        drop(held.0);
        assert!(ceiling.enter().await.is_some());
    }
}
