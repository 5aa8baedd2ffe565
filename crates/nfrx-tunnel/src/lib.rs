//! The tunnel: the one connection an agent dials out, both ends.
//!
//! It is HTTP/2 with the roles reversed over the binary messages of a WebSocket
//! (subprotocol `nfrx.h2`): the relay is the HTTP/2 client, the agent the server. So
//! multiplexing, flow control per stream, cancel, drain and liveness are a library's
//! work, and any HTTP service passes. A control stream carries registration, status and
//! heartbeats, one JSON object a line.
//!
//! Promised: a slow reader delays nobody else and costs at most its own window; a client
//! that leaves is felt by the agent at once, in every phase; an answer that broke never
//! looks whole; an old connection's end never touches its successor. Not here: who gets
//! a request (`nfrx-pool`), what the agent does with it (`nfrx-agent`).

mod agent;
mod budget;
mod company;
mod control;
mod counters;
mod dial;
mod headers;
pub mod legacy;
mod limits;
mod link;
mod passing;
mod read_ahead;
mod relay;
mod sockets;
mod turn;
mod v1;
mod ws_io;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

/// The WebSocket subprotocol, which names the carrier.
pub const SUBPROTOCOL: &str = "nfrx.h2";

pub use agent::{AgentService, Identity, Offer};
pub use counters::TunnelCounters;
pub use dial::{Connect, Connection, DialError, ServerUrl, TcpConnect};
pub use headers::{STREAM_HINT, strip_connection_headers, strip_where};
pub use limits::{STREAM_WINDOW, STREAMS_MAX};
pub use link::{LinkConfig, LinkError, LinkParts, LinkState, Loss, keep_connected, keep_connected_or};
pub use passing::{
    mark_event_stream, mark_request, strip_answer_headers, strip_client_headers, worker_target,
};
pub use relay::{Acceptor, TunnelSettings};
