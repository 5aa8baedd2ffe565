//! Bytes of answers that nobody has read yet, counted over all tunnels of a plugin.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What all unread answers may hold together.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl ByteBudget {
    /// A budget of `bytes_max` bytes.
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max }
    }

    /// Takes `bytes`, or nothing when that would be too much.
    pub(crate) fn claim(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max;
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
