//! HTTP/2 frames that cost their sender nothing: how many a peer may send for the work that
//! it is given.
//!
//! PING, SETTINGS, PRIORITY, WINDOW_UPDATE, resets, continuations and empty DATA are answered
//! or read, each for a few bytes, as fast as they come. A [`FrameMeter`] looks at the heads of
//! the frames that come, never at what is in them, and charges each but DATA that carries
//! something. What is written to the peer pays for it, and so does time. It reads no socket
//! and starts no task. Whoever else wants to know which frames pass finds them by [`FrameHeads`].

use std::time::Duration;

use tokio::time::Instant;

/// What a client says before its first frame.
const PREFACE_BYTES: usize = 24;
/// What the head of a frame has.
const HEAD_BYTES: usize = 9;
/// What a frame costs, in bytes that are written to the peer. The answers to a PING (17) and
/// to SETTINGS (9) don't pay for it; a piece of an answer pays for the windows that a reader
/// opens for it, and an answer's head for its request.
const COST: u64 = 32;
/// Padding has a byte for its length, and at most as much as that byte says.
const PADDING_BYTES_MAX: usize = 256;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

/// The head of an HTTP/2 frame (RFC 9113, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// How many bytes follow the head.
    pub payload_bytes: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHead {
    fn read([l0, l1, l2, kind, flags, s0, s1, s2, s3]: [u8; HEAD_BYTES]) -> Self {
        Self {
            payload_bytes: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        }
    }

    /// Whether it is DATA after which its stream goes on.
    pub fn is_data_amid_a_stream(&self) -> bool {
        self.kind == DATA && self.flags & END_STREAM == 0
    }

    /// Whether it is DATA that says something, be it that a stream ends.
    fn carries(&self) -> bool {
        let is_empty =
            self.payload_bytes == 0 || (self.flags & PADDED != 0 && self.payload_bytes <= PADDING_BYTES_MAX);
        self.kind == DATA && (!is_empty || self.flags & END_STREAM != 0)
    }
}

/// Finds the heads of frames in bytes that come in pieces of any size.
#[derive(Debug, Default)]
pub struct FrameHeads {
    /// Of the frame whose head is not whole yet.
    head: [u8; HEAD_BYTES],
    head_length: usize,
    /// What is to come of the frame that is being read.
    payload_left: usize,
}

impl FrameHeads {
    /// Begins where a client's preface begins; the default, behind it.
    fn with_preface() -> Self {
        Self { payload_left: PREFACE_BYTES, ..Self::default() }
    }

    /// Takes bytes up to the end of the next head, or all of them.
    pub fn next_of(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let skipped = self.payload_left.min(bytes.len());
        self.payload_left -= skipped;
        *bytes = &bytes[skipped..];
        let (taken, rest) = bytes.split_at((HEAD_BYTES - self.head_length).min(bytes.len()));
        self.head[self.head_length..][..taken.len()].copy_from_slice(taken);
        self.head_length += taken.len();
        *bytes = rest;
        if self.head_length < HEAD_BYTES {
            return None;
        }
        self.head_length = 0;
        let head = FrameHead::read(self.head);
        self.payload_left = head.payload_bytes;
        Some(head)
    }
}

/// How many frames a peer may send beyond its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameBudget {
    /// At a stretch.
    pub frames_max: u32,
    /// What comes back of these in a second.
    pub per_second: u32,
}

/// A peer sent more frames than its work explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer floods the connection with frames")]
pub struct Flooded;

/// Counts the frames of one connection in one direction.
#[derive(Debug)]
pub struct FrameMeter {
    budget: FrameBudget,
    credit: u64,
    paid_until: Instant,
    heads: FrameHeads,
    newest_stream: u32,
    streams: u64,
}

impl FrameMeter {
    /// Begins where a frame begins: behind the preface.
    pub fn new(budget: FrameBudget) -> Self {
        Self {
            budget,
            credit: u64::from(budget.frames_max) * COST,
            paid_until: Instant::now(),
            heads: FrameHeads::default(),
            newest_stream: 0,
            streams: 0,
        }
    }

    /// Begins where a client's preface begins.
    pub fn with_preface(budget: FrameBudget) -> Self {
        Self { heads: FrameHeads::with_preface(), ..Self::new(budget) }
    }

    /// Looks at what came, in pieces of any size.
    pub fn received(&mut self, mut bytes: &[u8]) -> Result<(), Flooded> {
        while let Some(head) = self.heads.next_of(&mut bytes) {
            // What comes later on the same stream are trailers.
            if head.kind == HEADERS && head.stream > self.newest_stream {
                self.newest_stream = head.stream;
                self.streams += 1;
            }
            if !head.carries() {
                self.charge()?;
            }
        }
        Ok(())
    }

    /// Notes how many bytes the peer was given.
    pub fn sent(&mut self, bytes: usize) {
        self.earn(bytes as u64);
    }

    /// How many streams the peer began.
    pub fn streams(&self) -> u64 {
        self.streams
    }

    /// Charges a frame or message of another protocol, such as WebSocket's.
    pub fn charge(&mut self) -> Result<(), Flooded> {
        if self.credit < COST {
            // Only now is it worth a look at the clock.
            let now = Instant::now();
            let millis = now.duration_since(self.paid_until).as_millis();
            let millis = u64::try_from(millis).unwrap_or(u64::MAX);
            self.paid_until += Duration::from_millis(millis);
            self.earn(millis.saturating_mul(u64::from(self.budget.per_second) * COST) / 1000);
        }
        self.credit = self.credit.checked_sub(COST).ok_or(Flooded)?;
        Ok(())
    }

    /// What was charged last carried something after all.
    pub fn refund(&mut self) {
        self.earn(COST);
    }

    fn earn(&mut self, credit: u64) {
        let most = u64::from(self.budget.frames_max) * COST;
        self.credit = self.credit.saturating_add(credit).min(most);
    }
}

#[cfg(test)]
mod tests;
