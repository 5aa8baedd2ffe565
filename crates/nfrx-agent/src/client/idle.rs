//! The limit on a backend's silence.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::upload::Progress;

/// Fires when nothing has moved for as long as the limit.
///
/// A chunk costs a glance at the clock, never a timer: the one timer of a request is
/// made at the first wait and moved only when it fires.
pub(crate) struct IdleTimer {
    limit: Option<Duration>,
    moved: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { limit, moved: Instant::now(), sleep: None }
    }

    /// Something moved just now.
    pub(crate) fn touch(&mut self) {
        if self.limit.is_some() {
            self.moved = Instant::now();
        }
    }

    /// Ready when the limit has passed without a touch or progress of the upload: a
    /// backend that waits for a slow client's body is not silent.
    pub(crate) fn poll_expired(&mut self, progress: &Progress, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        loop {
            let deadline = self.moved + limit;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.moved = self.moved.max(progress.moved());
            let deadline = self.moved + limit;
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
