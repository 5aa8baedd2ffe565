//! The carrier of protocol v1 (worker protocol): one JSON object in each WebSocket message,
//! bodies in base64. It is there for the agents and servers that people run already; above
//! the tunnel nobody can tell it from `nfrx.h2`, but for what v1 can't carry:
//!
//! - There is no flow control. An answer is kept for a reader that is behind up to a bound,
//!   then that request dies, and no other.
//! - A request is one message, so its body is gathered before it leaves.
//! - A header has one value; several are joined, and cookies that can't be are dropped.

pub(crate) mod agent;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod relay;
pub(crate) mod socket;

/// The carrier's name in state and logs.
pub(crate) const NAME: &str = "v1";

/// A registration is refused beyond this (decision 6).
const FIRST_MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Other messages: 4/3 of the largest body that is held, and some room around it.
const MESSAGE_BYTES_MAX: usize = 22 * 1024 * 1024 + 64 * 1024;

/// What one answer may hold unread, since nothing tells a v1 agent to slow down.
const UNREAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest body of a request that is gathered into one message.
const REQUEST_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What answers are cut into.
const CHUNK_BYTES: usize = 32 * 1024;
