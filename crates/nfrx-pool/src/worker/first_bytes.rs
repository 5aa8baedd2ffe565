//! How soon a worker begins to answer: the spans of its last requests.
//!
//! A request stores one number; the order that percentiles need is made by who looks.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// How many requests are remembered.
const KEPT: usize = 64;

/// The last spans from sending a request to the first byte of its answer's body.
#[derive(Debug)]
pub(crate) struct FirstBytes {
    /// In tenths of a millisecond, one more than that; zero for an empty place.
    spans: [AtomicU32; KEPT],
    next: AtomicUsize,
}

impl Default for FirstBytes {
    fn default() -> Self {
        Self { spans: [const { AtomicU32::new(0) }; KEPT], next: AtomicUsize::new(0) }
    }
}

impl FirstBytes {
    /// Remembers a span, in the place of the oldest.
    pub(crate) fn note(&self, span: Duration) {
        let tenths = u32::try_from(span.as_micros() / 100).unwrap_or(u32::MAX - 1);
        let at = self.next.fetch_add(1, Ordering::Relaxed) % KEPT;
        self.spans[at].store(tenths.saturating_add(1), Ordering::Relaxed);
    }

    /// The median and the 95th percentile in milliseconds; `None` before the first request.
    pub(crate) fn percentiles(&self) -> Option<(f64, f64)> {
        let spans = self.spans.iter().map(|span| span.load(Ordering::Relaxed));
        let mut spans: Vec<u32> = spans.filter(|span| *span > 0).collect();
        spans.sort_unstable();
        // The smallest span that so many percent are not above.
        let at = |percent: usize| {
            let rank = (spans.len() * percent).div_ceil(100).checked_sub(1)?;
            spans.get(rank).map(|span| f64::from(span - 1) / 10.0)
        };
        Some((at(50)?, at(95)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen to fail: with the rank rounded down.
    #[test]
    fn percentiles_are_those_of_the_last_requests() {
        let spans = FirstBytes::default();
        assert_eq!(spans.percentiles(), None);
        spans.note(Duration::from_micros(1_250));
        assert_eq!(spans.percentiles(), Some((1.2, 1.2)));
        for ms in 1..=1000 {
            spans.note(Duration::from_millis(ms));
        }
        assert_eq!(spans.percentiles(), Some((968.0, 997.0)), "of 937 to 1000");
        spans.note(Duration::from_secs(1 << 40));
        assert_eq!(spans.percentiles().map(|(median, _)| median), Some(969.0));
    }
}
