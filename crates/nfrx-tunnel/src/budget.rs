//! Bytes that are held, counted over all tunnels of a process: of answers that nobody has
//! read yet, and of requests that protocol v1 gathers.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What all of one kind hold together.
#[derive(Debug, Default)]
pub(crate) struct ByteBudget {
    used: AtomicUsize,
}

impl ByteBudget {
    /// Takes `bytes`, or nothing when there would be more than `bytes_max`.
    pub(crate) fn claim(&self, bytes: usize, bytes_max: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= bytes_max;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    /// Gives back what was claimed.
    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The budget of requests on their way out, apart from that of answers.
#[derive(Debug, Default)]
pub(crate) struct UnsentBytes(pub(crate) ByteBudget);
