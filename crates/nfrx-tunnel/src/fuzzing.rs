//! What is read from the other end, laid open for the fuzzer and the counts of
//! instructions, and for nobody else.

use bytes::Bytes;
use nfrx_spi::{Heartbeat, Registration, StatusUpdate};

use crate::control::{self, AgentMessage, Lines};

/// The messages of protocol v1.
pub mod v1 {
    pub use crate::v1::fuzzing::*;
}

/// A message of an agent on the control stream of `nfrx.h2`.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// What it offers, and the token of the connection that it continues.
    Register(Registration, Option<String>),
    /// What changed.
    StatusUpdate(StatusUpdate),
    /// It lives.
    Heartbeat(Heartbeat),
}

/// Reads a line of the control stream.
pub fn read(line: &[u8]) -> Option<Said> {
    Some(match serde_json::from_slice(line).ok()? {
        AgentMessage::Register { registration, resume } => Said::Register(registration, resume),
        AgentMessage::StatusUpdate(update) => Said::StatusUpdate(update),
        AgentMessage::Heartbeat(heartbeat) => Said::Heartbeat(heartbeat),
    })
}

/// Writes a line as an agent does.
pub fn write(said: Said) -> Bytes {
    control::line(&match said {
        Said::Register(registration, resume) => AgentMessage::Register { registration, resume },
        Said::StatusUpdate(update) => AgentMessage::StatusUpdate(update),
        Said::Heartbeat(heartbeat) => AgentMessage::Heartbeat(heartbeat),
    })
}

/// The whole lines in these pieces; `None` when one is too long.
pub fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<Bytes>> {
    let (mut lines, mut all) = (Lines::default(), Vec::new());
    for piece in pieces {
        lines.feed(piece);
        while let Some(line) = lines.next().ok()? {
            all.push(line);
        }
    }
    Some(all)
}
