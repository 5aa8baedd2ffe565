//! Requests that hold the drain up: from the gate to the end of the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts them.
#[derive(Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    none: Notify,
}

/// One of them; dropping it is its end.
pub(crate) struct Counted(Arc<InFlight>);

impl InFlight {
    /// Counts one more.
    pub(super) fn count(self: &Arc<Self>) -> Counted {
        self.count.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(self))
    }

    /// How many there are.
    pub(crate) fn now(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Completes when there are none.
    pub(crate) async fn none(&self) {
        loop {
            // Made before the look at the count, so that no end falls in between.
            let none = self.none.notified();
            if self.now() == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
