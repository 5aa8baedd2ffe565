//! How much of one answer is sent before others have their turn.
//!
//! A frame is sent whole, and what is ready meanwhile waits for its end: 64 KiB keep a line of
//! 20 Mbit/s busy for 26 ms, a fast one for nothing to speak of, where they cost least. So the
//! writer learns how much the line takes in a few milliseconds, and answers are cut by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::FRAME_BYTES;

/// How long others may have to wait for one frame.
const TURN: Duration = Duration::from_millis(5);
/// Less is no good use of a line, however slow it is.
const BYTES_MIN: usize = 4 * 1024;
const BYTES_MAX: usize = FRAME_BYTES as usize;
/// A line that took all we had for so long is none that is full.
const FORGET: Duration = Duration::from_millis(250);

/// What is sent at a time at most. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Turn(Arc<AtomicUsize>);

impl Turn {
    /// In bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, bytes: usize) {
        self.0.store(bytes.clamp(BYTES_MIN, BYTES_MAX), Ordering::Relaxed);
    }
}

/// What the writer sees of its line.
#[derive(Debug)]
pub(crate) struct Gauge {
    turn: Turn,
    sent: u64,
    /// When the line was last found full, and what had been sent until then.
    full: Option<(Instant, u64)>,
    is_full: bool,
}

impl Gauge {
    /// Of a line that nothing is known of: it counts as fast.
    pub(crate) fn new() -> Self {
        Self { turn: Turn(Arc::new(AtomicUsize::new(BYTES_MAX))), sent: 0, full: None, is_full: false }
    }

    pub(crate) fn turn(&self) -> Turn {
        self.turn.clone()
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// The line takes nothing more for now. What it took since it was last full, it took in the
    /// time since then.
    pub(crate) fn full(&mut self, now: Instant) {
        if std::mem::replace(&mut self.is_full, true) {
            return;
        }
        if let Some((then, sent)) = self.full.replace((now, self.sent))
            && now - then < FORGET
        {
            let share = TURN.as_secs_f64() / (now - then).as_secs_f64();
            self.turn.set(((self.sent - sent) as f64 * share) as usize);
        }
    }

    /// The line has taken all there was.
    pub(crate) fn free(&mut self, now: Instant) {
        self.is_full = false;
        if self.full.is_some_and(|(then, _)| now - then >= FORGET) {
            self.full = None;
            self.turn.set(BYTES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What a turn has on a line that is full after each `bytes`, which take `ms`.
    fn learned(bytes: usize, ms: u32) -> usize {
        let (mut gauge, mut now) = (Gauge::new(), Instant::now());
        for _ in 0..3 {
            gauge.sent(bytes);
            gauge.full(now);
            // To find it full once more is no news.
            gauge.full(now + MS * ms / 2);
            now += MS * ms;
            gauge.free(now);
        }
        gauge.turn().bytes()
    }

    #[test]
    fn a_turn_takes_five_milliseconds_of_a_slow_line() {
        // 20 Mbit/s. Seen to fail: with the last 12 ms taken for 6, as when each look counts.
        assert_eq!(learned(30_000, 12), 12_500);
        // 1 Mbit/s, and one that is fast. Seen to fail: without the bounds.
        assert_eq!(learned(12_500, 100), BYTES_MIN);
        assert_eq!(learned(1 << 20, 2), BYTES_MAX);
    }

    #[test]
    fn a_line_that_was_not_full_for_long_is_a_fast_one_again() {
        let (mut gauge, now) = (Gauge::new(), Instant::now());
        gauge.full(now);
        gauge.free(now);
        gauge.sent(10_000);
        gauge.full(now + 10 * MS);
        gauge.free(now + 20 * MS);
        assert_eq!(gauge.turn().bytes(), 5_000);
        gauge.free(now + 200 * MS);
        assert_eq!(gauge.turn().bytes(), 5_000);
        // Seen to fail: when nothing is ever forgotten.
        gauge.free(now + 300 * MS);
        assert_eq!(gauge.turn().bytes(), BYTES_MAX);
    }

    #[test]
    fn a_pause_says_nothing_of_the_line() {
        let (mut gauge, now) = (Gauge::new(), Instant::now());
        gauge.full(now);
        gauge.free(now);
        gauge.sent(10_000);
        // Seen to fail: with a pause counted as time that the line took.
        gauge.full(now + 60_000 * MS);
        assert_eq!(gauge.turn().bytes(), BYTES_MAX);
    }
}
