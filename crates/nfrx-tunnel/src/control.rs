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
    /// The agent's key was revoked.
    Unauthorized,
    /// The registration was refused.
    Refused,
    #[serde(other)]
    Unknown,
}

impl ByeCode {
    /// What the code of an old server's close frame means.
    pub(crate) fn of_close(code: u16) -> Self {
        match code {
            1001 => Self::ServerStopping,
            1008 => Self::Refused,
            _ => Self::Unknown,
        }
    }
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
            CloseReason::Unauthorized => Self::Unauthorized,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\nrest";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.feed(piece);
                while let Some(line) = lines.next().expect("short") {
                    found.push(line);
                }
            }
            assert_eq!(found, ["{\"a\":1}", "", "{\"b\":2}"], "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_is_refused_by_its_own_length_whatever_comes_with_it() {
        // Seen to fail: when only lines without an end are judged.
        let check = |length: usize| {
            let mut lines = Lines::default();
            lines.feed(&vec![b'x'; length]);
            lines.feed(b"\nnext\n");
            lines.next().is_ok()
        };
        assert!(check(LINE_BYTES_MAX));
        assert!(!check(LINE_BYTES_MAX + 1));
    }

    #[test]
    fn messages_read_as_they_are_written_and_new_codes_are_no_error() {
        let message = RelayMessage::Bye { code: ByeCode::ServerStopping, reason: "x\ny".to_owned() };
        let text = line(&message);
        assert_eq!(memchr::memchr(b'\n', &text), Some(text.len() - 1), "one line");
        let read: RelayMessage = serde_json::from_slice(&text).expect("our own");
        assert!(matches!(read, RelayMessage::Bye { code: ByeCode::ServerStopping, .. }));
        let newer = r#"{"type":"bye","code":"moved","reason":"","to":"elsewhere"}"#;
        let read: RelayMessage = serde_json::from_str(newer).expect("a newer relay's");
        assert!(matches!(read, RelayMessage::Bye { code: ByeCode::Unknown, .. }));
    }
}
