//! A WebSocket's binary messages as a byte stream, for HTTP/2 to run on.
//!
//! Boundaries of messages mean nothing. What HTTP/2 writes in one turn of its task leaves
//! in one message and one write; what arrives is unpacked in the reader's own buffer. So
//! an idle connection holds no buffer here, and bulk is not copied on its way in. That is
//! why this is not a WebSocket library, whose read buffer alone would be most of what an
//! idle worker costs; the tests have one at the other end.

mod frame;
mod outbox;
mod stream;

#[cfg(test)]
mod tests;

pub(crate) use stream::{WsHandle, WsIo, pair};

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Dialed: masks what it sends.
    Client,
    /// Was dialed: what it gets must be masked.
    Server,
}

/// Why a connection is closed, as the peer is told (RFC 6455 §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloseFrame {
    /// The code.
    pub(crate) code: u16,
    /// For people, at most 123 bytes.
    pub(crate) reason: &'static str,
}

impl CloseFrame {
    /// The purpose is fulfilled.
    pub(crate) const NORMAL: u16 = 1000;
    /// This end goes away.
    pub(crate) const AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub(crate) const PROTOCOL: u16 = 1002;
    /// Text, where there is none.
    pub(crate) const UNSUPPORTED: u16 = 1003;
    /// A rule of this end forbids to go on.
    pub(crate) const POLICY: u16 = 1008;
    /// A message over its bound.
    pub(crate) const TOO_LARGE: u16 = 1009;
}
