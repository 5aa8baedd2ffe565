//! Frames as they arrive (RFC 6455 §5): heads are taken out and payloads unmasked in place.

use std::io;

use super::{CloseFrame, Role};
use crate::limits::MESSAGE_BYTES_MAX;

/// The longest head: two bytes, a length of eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;

pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;

/// How the peer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("websocket: {0}")]
    Protocol(&'static str),
    #[error("websocket: a text message, where only binary ones are spoken")]
    Text,
    #[error("websocket: a message over the limit of {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
}

impl FrameError {
    /// What the peer is told.
    pub(super) fn close(self) -> CloseFrame {
        match self {
            Self::Protocol(reason) => CloseFrame { code: CloseFrame::PROTOCOL, reason },
            Self::Text => CloseFrame { code: CloseFrame::UNSUPPORTED, reason: "binary messages only" },
            Self::TooLarge => CloseFrame { code: CloseFrame::TOO_LARGE, reason: "message too large" },
        }
    }
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// What arrived beside data.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The payload of the last ping; only that one needs an answer (RFC 6455 §5.5.3).
    pub(super) ping: Option<Vec<u8>>,
    /// The peer closed; what follows is ignored.
    pub(super) close: bool,
}

/// Where in the frames the bytes stand.
#[derive(Debug)]
pub(super) struct Decoder {
    role: Role,
    state: State,
    /// Bytes of the message that is open, if one is.
    message: Option<u64>,
    /// The payload of a control frame so far.
    control: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Head { bytes: [u8; HEAD_BYTES_MAX], filled: usize },
    Payload(Frame),
    Closed,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    fin: bool,
    left: u64,
    mask: [u8; 4],
}

impl State {
    const START: Self = Self::Head { bytes: [0; HEAD_BYTES_MAX], filled: 0 };
}

impl Decoder {
    /// At the start of a connection, as this end of it.
    pub(super) fn new(role: Role) -> Self {
        Self { role, state: State::START, message: None, control: Vec::new() }
    }

    /// Unpacks what arrived: the data moves to the front of `bytes`, its length is given.
    pub(super) fn decode(&mut self, bytes: &mut [u8], seen: &mut Seen) -> Result<usize, FrameError> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            match &mut self.state {
                State::Closed => break,
                State::Head { bytes: head, filled } => {
                    head[*filled] = bytes[at];
                    *filled += 1;
                    at += 1;
                    if *filled == head_length(head, *filled) {
                        let (head, filled) = (*head, *filled);
                        self.begin(&head[..filled], seen)?;
                    }
                }
                State::Payload(frame) => {
                    let length = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    let payload = &mut bytes[at..at + length];
                    frame.mask = apply_mask(payload, frame.mask);
                    frame.left -= length as u64;
                    let (opcode, whole) = (frame.opcode, frame.left == 0);
                    if opcode >= CLOSE {
                        self.control.extend_from_slice(payload);
                    } else {
                        bytes.copy_within(at..at + length, kept);
                        kept += length;
                    }
                    at += length;
                    if whole {
                        self.end(seen);
                    }
                }
            }
        }
        Ok(kept)
    }

    fn begin(&mut self, head: &[u8], seen: &mut Seen) -> Result<(), FrameError> {
        let frame = read_head(head, self.role)?;
        if frame.opcode < CLOSE {
            let before = self.message.unwrap_or(0);
            match (frame.opcode, self.message) {
                (TEXT, None) => return Err(FrameError::Text),
                (CONTINUATION, None) => return Err(FrameError::Protocol("continuation of nothing")),
                (BINARY | TEXT, Some(_)) => return Err(FrameError::Protocol("message within a message")),
                _ => {}
            }
            let total = before.saturating_add(frame.left);
            if total > MESSAGE_BYTES_MAX {
                return Err(FrameError::TooLarge);
            }
            self.message = Some(total);
        }
        let empty = frame.left == 0;
        self.state = State::Payload(frame);
        if empty {
            self.end(seen);
        }
        Ok(())
    }

    /// The frame is whole.
    fn end(&mut self, seen: &mut Seen) {
        let State::Payload(frame) = std::mem::replace(&mut self.state, State::START) else { return };
        match frame.opcode {
            CLOSE => {
                seen.close = true;
                self.state = State::Closed;
            }
            PING => seen.ping = Some(std::mem::take(&mut self.control)),
            PONG => {}
            _ if frame.fin => self.message = None,
            _ => {}
        }
        self.control.clear();
    }
}

/// How long a head is, as far as its first `filled` bytes tell.
fn head_length(head: &[u8; HEAD_BYTES_MAX], filled: usize) -> usize {
    if filled < 2 {
        return 2;
    }
    let mask = if head[1] & 0x80 == 0 { 0 } else { 4 };
    let length = match head[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + mask
}

fn read_head(head: &[u8], role: Role) -> Result<Frame, FrameError> {
    let (fin, opcode) = (head[0] & 0x80 != 0, head[0] & 0x0f);
    let masked = head[1] & 0x80 != 0;
    if head[0] & 0x70 != 0 {
        return Err(FrameError::Protocol("reserved bits are set"));
    }
    if masked != (role == Role::Server) {
        return Err(FrameError::Protocol("frames to a server, and no others, are masked"));
    }
    let (length, rest) = match head[1] & 0x7f {
        126 => (u64::from(u16::from_be_bytes([head[2], head[3]])), &head[4..]),
        127 => {
            let mut length = [0; 8];
            length.copy_from_slice(&head[2..10]);
            (u64::from_be_bytes(length), &head[10..])
        }
        short => (u64::from(short), &head[2..]),
    };
    match opcode {
        CONTINUATION | TEXT | BINARY => {}
        CLOSE | PING | PONG if fin && length <= CONTROL_BYTES_MAX => {}
        CLOSE | PING | PONG => return Err(FrameError::Protocol("control frame too long or in parts")),
        _ => return Err(FrameError::Protocol("unknown kind of frame")),
    }
    let mut mask = [0; 4];
    if masked {
        mask.copy_from_slice(rest);
    }
    Ok(Frame { opcode, fin, left: length, mask })
}

/// Masks or unmasks, and gives the mask for the byte that follows.
pub(super) fn apply_mask(bytes: &mut [u8], mut mask: [u8; 4]) -> [u8; 4] {
    if mask == [0; 4] {
        return mask;
    }
    let four = u64::from(u32::from_ne_bytes(mask));
    let wide = four << 32 | four;
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    let tail = chunks.into_remainder();
    for (at, byte) in tail.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    mask.rotate_left(tail.len() % 4);
    mask
}
