//! When a child may be started: at once, unless the ones before failed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nfrx_runtime::backoff::Backoff;
use tokio::time::Instant;

/// Waits after children that failed, one after the other.
const WAITS: &[Duration] = &[
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// How starts went.
pub(super) struct Starts(Mutex<State>);

struct State {
    backoff: Backoff,
    failure: Option<Failure>,
    succeeded: bool,
}

/// Why no child is started now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// How the last one ended.
    pub(super) why: String,
    /// When the next may be started.
    pub(super) until: Instant,
}

impl Starts {
    /// None was started yet.
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(WAITS);
        Self(Mutex::new(State { backoff, failure: None, succeeded: false }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one may be started now.
    pub(super) fn may_start(&self) -> Result<(), Failure> {
        match &self.lock().failure {
            Some(failure) if failure.until > Instant::now() => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    /// One failed before it was of any use.
    pub(super) fn failed(&self, why: &str) {
        let mut state = self.lock();
        let until = Instant::now() + state.backoff.next_wait();
        state.failure = Some(Failure { why: why.to_owned(), until });
    }

    /// One was of use.
    pub(super) fn succeeded(&self) {
        let mut state = self.lock();
        state.backoff.reset();
        (state.failure, state.succeeded) = (None, true);
    }

    /// What is wrong, if the last start failed; `Ok(true)` if one has succeeded.
    pub(super) fn outcome(&self) -> Result<bool, String> {
        let state = self.lock();
        state.failure.as_ref().map_or(Ok(state.succeeded), |failure| Err(failure.why.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_start_waits_longer_after_each_failure_and_not_after_a_success() {
        let starts = Starts::new();
        assert_eq!((starts.may_start(), starts.outcome()), (Ok(()), Ok(false)));
        let mut before = Duration::ZERO;
        for _ in 0..5 {
            starts.failed("broken");
            let failure = starts.may_start().expect_err("it must wait");
            let wait = failure.until - Instant::now();
            assert!(wait > before, "{wait:?} after {before:?}");
            (before, _) = (wait, tokio::time::sleep(wait).await);
            assert_eq!(starts.may_start(), Ok(()));
            assert_eq!(starts.outcome(), Err("broken".to_owned()));
        }
        starts.failed("broken");
        starts.succeeded();
        assert_eq!((starts.may_start(), starts.outcome()), (Ok(()), Ok(true)));
    }
}
