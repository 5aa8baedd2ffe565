//! The control stream: one JSON object a line, both ways (decision 2).

use bytes::{Buf, Bytes, BytesMut};
use nfrx_spi::{CloseReason, Heartbeat, Registration, StatusUpdate};
use serde::{Deserialize, Serialize};

/// Paths below this one are the tunnel's own: no request may ask for them.
pub(crate) const RESERVED_PATH: &str = "/.nfrx";

/// Where the relay opens it.
pub(crate) const PATH: &str = "/.nfrx/control";

/// A longer line is an attack: a registration names at most a few thousand models.
pub(crate) const LINE_BYTES_MAX: usize = 256 * 1024;

/// What an agent says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum AgentMessage {
    /// First of all.
    Register {
        /// What the agent offers.
        #[serde(flatten)]
        registration: Registration,
        /// The token of the connection that this one continues.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
    },
    StatusUpdate(StatusUpdate),
    Heartbeat(Heartbeat),
}

/// What the relay says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum RelayMessage {
    /// The agent is registered; nothing is scheduled before.
    Welcome { worker_id: String, epoch: u64, resume: String, heartbeat_ms: u64 },
    /// Register elsewhere; what runs goes on.
    Drain,
    /// The tunnel closes.
    Bye { code: ByeCode, reason: String },
}

/// Why a relay closes a tunnel, as the agent reacts to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ByeCode {
    Replaced,
    Expired,
    ServerStopping,
    Disconnected,
    ProtocolError,
    AgentLeft,
    /// The registration was refused.
    Refused,
    #[serde(other)]
    Unknown,
}

impl From<CloseReason> for ByeCode {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Replaced => Self::Replaced,
            CloseReason::Expired => Self::Expired,
            CloseReason::ServerStopping => Self::ServerStopping,
            CloseReason::Disconnected => Self::Disconnected,
            CloseReason::ProtocolError => Self::ProtocolError,
            CloseReason::AgentLeft => Self::AgentLeft,
        }
    }
}

/// One message as a line.
pub(crate) fn line(message: &impl Serialize) -> Bytes {
    // Plain data always serialises, and JSON text holds no raw line end.
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: BytesMut,
    searched: usize,
}

/// A line is longer than it may be.
#[derive(Debug, thiserror::Error)]
#[error("a control line has more than {LINE_BYTES_MAX} bytes")]
pub(crate) struct LineTooLong;

impl Lines {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let Some(at) = memchr::memchr(b'\n', &self.bytes[self.searched..]) else {
            self.searched = self.bytes.len();
            return if self.bytes.len() > LINE_BYTES_MAX { Err(LineTooLong) } else { Ok(None) };
        };
        if self.searched + at > LINE_BYTES_MAX {
            return Err(LineTooLong);
        }
        let line = self.bytes.split_to(self.searched + at).freeze();
        self.bytes.advance(1);
        self.searched = 0;
        Ok(Some(line))
    }
}
