//! Workers that wait for a job.
//!
//! Each has a wake-up of its own. A new job wakes the one that has waited longest among
//! those it suits; a wake-up that comes to nothing is handed on (KD-80).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::job::Job;
use crate::store::Seeker;

/// All that wait.
#[derive(Default)]
pub(crate) struct Waiting {
    seekers: Mutex<VecDeque<Arc<Waiter>>>,
}

struct Waiter {
    seeker: Arc<Seeker>,
    notify: Notify,
    /// The job it was woken for and has not looked for yet.
    woken_for: Mutex<Option<Arc<Job>>>,
}

/// A place among those who wait; dropping it is leaving.
pub(crate) struct Place {
    waiting: Arc<Waiting>,
    waiter: Arc<Waiter>,
}

impl Waiting {
    /// Joins, unless there are too many.
    pub(crate) fn join(self: &Arc<Self>, seeker: Arc<Seeker>, max: usize) -> Option<Place> {
        let mut seekers = self.lock();
        if seekers.len() >= max {
            return None;
        }
        let waiter = Arc::new(Waiter { seeker, notify: Notify::new(), woken_for: Mutex::default() });
        seekers.push_back(Arc::clone(&waiter));
        Some(Place { waiting: Arc::clone(self), waiter })
    }

    /// Wakes the first whom the job suits and who was not woken yet.
    pub(crate) fn wake(&self, job: &Arc<Job>) {
        let seekers = self.lock();
        for waiter in seekers.iter().filter(|waiter| waiter.seeker.suits(&job.order)) {
            let mut woken_for = waiter.woken_for.lock().unwrap_or_else(PoisonError::into_inner);
            if woken_for.is_none() {
                *woken_for = Some(Arc::clone(job));
                waiter.notify.notify_one();
                return;
            }
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Waiter>>> {
        self.seekers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Completes when a job came that suits. Look for one before the first wait, and after
    /// each: the wake-up is a hint, the store decides.
    pub(crate) async fn woken(&self) {
        self.waiter.notify.notified().await;
    }

    /// Says what was found by looking. If it is not what the wake-up was for, that one may
    /// still wait for somebody else.
    pub(crate) fn found(&self, job: Option<&Job>) {
        let woken_for = self.waiter.woken_for.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(expected), Some(found)) = (woken_for, job)
            && expected.id != found.id
        {
            self.waiting.wake(&expected);
        }
    }

    /// Goes to the end of the line, so that jobs are dealt in turn (KD-84).
    pub(crate) fn step_back(&self) {
        let mut seekers = self.waiting.lock();
        if let Some(at) = seekers.iter().position(|waiter| Arc::ptr_eq(waiter, &self.waiter))
            && let Some(waiter) = seekers.remove(at)
        {
            seekers.push_back(waiter);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
        let woken_for = self.waiter.woken_for.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(job) = woken_for {
            self.waiting.wake(&job);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::job::tests::order;
    use crate::time::Millis;

    fn seeker(kind: &str) -> Arc<Seeker> {
        Arc::new(Seeker { kinds: vec![kind.to_owned()], ..Seeker::default() })
    }

    fn job(id: &str, kind: &str) -> Arc<Job> {
        Arc::new(Job::new(id.to_owned(), order(kind), Millis(0)))
    }

    fn is_woken(place: &Place) -> bool {
        place.woken().now_or_never().is_some()
    }

    #[test]
    fn a_job_wakes_the_first_whom_it_suits_and_nobody_else() {
        let waiting = Arc::new(Waiting::default());
        let [other, first, second] = ["b", "a", "a"].map(|kind| waiting.join(seeker(kind), 9).expect("room"));
        waiting.wake(&job("1", "a"));
        // Seen to fail: with whoever waits longest woken, suiting or not.
        assert!(!is_woken(&other) && is_woken(&first) && !is_woken(&second));
        waiting.wake(&job("2", "a"));
        assert!(is_woken(&second));
        assert!(waiting.join(seeker("a"), 3).is_none());
    }

    #[test]
    fn a_wake_up_that_comes_to_nothing_is_handed_on() {
        let waiting = Arc::new(Waiting::default());
        let [first, second] = ["a", "a"].map(|kind| waiting.join(seeker(kind), 9).expect("room"));
        waiting.wake(&job("1", "a"));
        // Seen to fail: without the look at what the leaving one was woken for.
        drop(first);
        assert!(is_woken(&second));
        second.found(None);
        let third = waiting.join(seeker("a"), 9).expect("room");
        waiting.wake(&job("2", "a"));
        second.found(Some(&job("0", "a")));
        assert!(is_woken(&second) || is_woken(&third));
    }
}
