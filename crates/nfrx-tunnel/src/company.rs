//! Small pieces of answers that wait a moment for each other.
//!
//! A token is a frame of a few hundred bytes. Where many streams share a tunnel, each on a turn
//! of its own costs a message, two system calls and a wake-up of the relay, which is more than all
//! that is done with it. So where pieces follow each other closely they leave together, a moment
//! later. A piece that has no company, and all that is no such piece, leaves at once: heads, ends,
//! control frames, and large pieces.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nfrx_runtime::frames::FrameHeads;
use tokio::time::{Instant, Sleep, sleep};

/// What counts as a small piece.
const PIECE_BYTES_MAX: usize = 2 * 1024;
/// So much does not wait for more.
const BYTES_MAX: usize = 16 * 1024;
/// How long a piece waits; the timer's tick adds up to a millisecond.
const WAIT: Duration = Duration::from_millis(1);
/// Pieces have company when they are no further apart than this, on average.
const CLOSE: Duration = Duration::from_micros(250);
/// How many pieces the average reaches back. A pause of so many times `CLOSE` ends any company.
const REACH: u32 = 16;

/// What a writer knows of the pieces that it has gathered.
#[derive(Debug)]
pub(crate) struct Company {
    heads: FrameHeads,
    /// When the last piece came.
    last: Instant,
    /// How far apart pieces are.
    apart: Duration,
    /// Something was gathered that doesn't wait.
    is_urgent: bool,
    is_waiting: bool,
    /// Of what waits; kept for the next time.
    timer: Pin<Box<Sleep>>,
}

impl Company {
    /// Of a connection whose next byte begins a frame. Needs a runtime with time.
    pub(crate) fn new() -> Self {
        Self {
            heads: FrameHeads::default(),
            last: Instant::now(),
            apart: CLOSE,
            is_urgent: false,
            is_waiting: false,
            timer: Box::pin(sleep(WAIT)),
        }
    }

    /// Looks at what was gathered, in pieces of any size.
    pub(crate) fn gathered(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.heads.next_of(&mut bytes) {
            if head.is_data_amid_a_stream() && head.payload_bytes <= PIECE_BYTES_MAX {
                self.came(Instant::now());
            } else {
                self.is_urgent = true;
            }
        }
    }

    fn came(&mut self, now: Instant) {
        let distance = now.duration_since(self.last).min(CLOSE * REACH);
        self.last = now;
        self.apart = (self.apart * (REACH - 1) + distance) / REACH;
    }

    /// Waits until the `bytes` gathered so far are to leave.
    pub(crate) fn poll_leave(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        if bytes == 0 || bytes >= BYTES_MAX || self.is_urgent || self.apart >= CLOSE {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut self.is_waiting, true) {
            self.timer.as_mut().reset(Instant::now() + WAIT);
        }
        self.timer.as_mut().poll(cx)
    }

    /// What was gathered has left.
    pub(crate) fn left(&mut self) {
        self.is_urgent = false;
        self.is_waiting = false;
    }
}

#[cfg(test)]
mod tests;
