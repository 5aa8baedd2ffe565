//! Frames on their way out: whatever is written before the next send shares a message.

use super::frame::{BINARY, CLOSE, apply_mask};
use super::{CloseFrame, Role};

/// A frame's payload as its head of four bytes can say it.
const FRAME_BYTES_MAX: usize = u16::MAX as usize;

/// Masks are taken from the system's random source in batches.
const MASKS_BYTES: usize = 256;

/// Bytes to send, with a frame at their end that can still grow.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Where the growing frame begins, its head included.
    open_at: Option<usize>,
    masks: Option<Masks>,
    /// Whether something was written since the buffer was last looked at.
    used: bool,
}

/// Unforeseeable masks, so that nobody who chooses a payload chooses the bytes on the
/// wire (RFC 6455 §10.3).
#[derive(Debug)]
struct Masks {
    random: Box<[u8; MASKS_BYTES]>,
    at: usize,
}

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        if self.at == MASKS_BYTES {
            // Without a random source frames go out with the masks used before: they
            // stay valid, and TLS does not depend on them.
            let _ = getrandom::fill(&mut self.random[..]);
            self.at = 0;
        }
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.random[self.at..self.at + 4]);
        self.at += 4;
        mask
    }
}

impl Outbox {
    /// Empty, for this end of a connection.
    pub(super) fn new(role: Role) -> Self {
        let masks = || Masks { random: Box::new([0; MASKS_BYTES]), at: MASKS_BYTES };
        Self {
            bytes: Vec::new(),
            sent: 0,
            open_at: None,
            masks: (role == Role::Client).then(masks),
            used: false,
        }
    }

    /// Bytes that wait.
    pub(super) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Adds data to the growing message.
    pub(super) fn push(&mut self, mut data: &[u8]) {
        self.used = true;
        while !data.is_empty() {
            let head = self.head_bytes();
            let start = *self.open_at.get_or_insert_with(|| {
                let start = self.bytes.len();
                self.bytes.resize(start + head, 0);
                start
            });
            let room = FRAME_BYTES_MAX - (self.bytes.len() - start - head);
            let (now, rest) = data.split_at(room.min(data.len()));
            self.bytes.extend_from_slice(now);
            data = rest;
            if !data.is_empty() {
                self.seal();
            }
        }
    }

    /// Adds a control frame of at most 125 bytes.
    pub(super) fn control(&mut self, opcode: u8, payload: &[u8]) {
        self.seal();
        self.used = true;
        let start = self.bytes.len();
        self.bytes.resize(start + self.head_bytes(), 0);
        self.bytes.extend_from_slice(payload);
        self.finish(start, opcode);
    }

    /// Adds the frame that ends the connection.
    pub(super) fn close(&mut self, frame: CloseFrame) {
        let mut payload = frame.code.to_be_bytes().to_vec();
        payload.extend_from_slice(frame.reason.as_bytes());
        payload.truncate(125);
        self.control(CLOSE, &payload);
    }

    /// What is to be written next; ends the growing message.
    pub(super) fn to_send(&mut self) -> &[u8] {
        self.seal();
        &self.bytes[self.sent..]
    }

    /// `count` bytes were written.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    /// Gives the buffer back when nothing was written since the last call: bulk must not
    /// leave its buffer behind in an idle tunnel.
    pub(super) fn relax(&mut self) {
        if !std::mem::take(&mut self.used) && self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    fn head_bytes(&self) -> usize {
        if self.masks.is_some() { 8 } else { 4 }
    }

    fn seal(&mut self) {
        if let Some(start) = self.open_at.take() {
            self.finish(start, BINARY);
        }
    }

    /// Writes the head of the frame that begins at `start`, and masks its payload.
    fn finish(&mut self, start: usize, opcode: u8) {
        let payload_at = start + self.head_bytes();
        let length = self.bytes.len() - payload_at;
        let mask = self.masks.as_mut().map(Masks::next);
        if let Some(mask) = mask {
            apply_mask(&mut self.bytes[payload_at..], mask);
        }
        let masked = if mask.is_some() { 0x80 } else { 0 };
        // The shortest form is a must (RFC 6455 §5.2); no frame here has 64 KiB.
        let long = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        let (marks, long) = match u8::try_from(length) {
            Ok(short @ ..=125) => ([0x80 | opcode, masked | short], &[][..]),
            _ => ([0x80 | opcode, masked | 126], &long[..]),
        };
        let mut at = start;
        for part in [&marks[..], long, mask.as_ref().map_or(&[][..], |mask| &mask[..])] {
            self.bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let spare = payload_at - at;
        if spare > 0 {
            self.bytes.copy_within(payload_at.., payload_at - spare);
            self.bytes.truncate(self.bytes.len() - spare);
        }
    }
}
