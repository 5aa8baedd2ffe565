//! Model Context Protocol servers behind nfrx: the server half makes a private server
//! reachable at a public URL, the agent half fronts it, over HTTP or over stdio.
//!
//! Promised: a client at `/api/mcp/id/{id}` sees what it would see at the server itself:
//! method, status, bytes, headers, streams and their ends, both ways and in both eras of the
//! protocol. What the relay must add (login, origins, limits, keep-alive, a way through the
//! moments in which an agent is away) is made so that no client takes it for the server's.
//! Not here: what a message means. Bodies are looked at, never rewritten.

mod about;
pub mod agent;
mod digest;
mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod message;
mod offer;
mod recent;
mod server;
mod v1;

pub use server::McpFactory;
