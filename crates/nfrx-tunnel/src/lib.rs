//! The connection an agent dials out, both ends.
//!
//! An agent opens a WebSocket with the subprotocol `nfrx.h2`; over its binary messages the
//! relay speaks HTTP/2 as the client and the agent as the server. [`Acceptor`] is the
//! relay's end: it admits agents and gives each to a pool as a [`nfrx_spi::Tunnel`].
//! [`keep_connected`] is the agent's end: it dials, registers, hands requests to an
//! [`AgentService`], and dials again.
//!
//! It promises that one bad stream costs only itself, whatever its reader, writer or
//! backend does; that what is unread is bounded per stream, per tunnel and per process; and
//! that a request whose client left is felt by the agent at once. Who may connect is judged
//! before, which worker gets a request above.

mod budget;
mod counters;
mod headers;
mod limits;
mod policy;
mod ws;

pub use budget::ByteBudget;
pub use counters::TunnelCounters;
pub use limits::{STREAM_WINDOW, STREAMS_MAX, SUBPROTOCOL, TunnelSettings};
pub use policy::{Allowed, Policy};
