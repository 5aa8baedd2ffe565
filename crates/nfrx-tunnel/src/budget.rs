//! Bytes of answers that nobody has read yet, counted over the whole process.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What all unread answers of a process may hold together.
#[derive(Debug)]
pub struct ByteBudget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Default for ByteBudget {
    /// 256 MiB.
    fn default() -> Self {
        Self::new(256 * 1024 * 1024)
    }
}

impl ByteBudget {
    /// A budget of `bytes_max` bytes.
    pub const fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max }
    }

    /// Bytes that are held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
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
