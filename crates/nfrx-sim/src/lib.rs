//! A simulated OpenAI-compatible backend: the demo of nfrx and the target of its tests.
//!
//! It speaks the HTTP surface of an LLM runtime, of a speech recogniser and of a document
//! converter, and computes nothing: answers are words
//! drawn from a seed, so the same request gets the same answer, byte for byte. What it
//! promises is precision. Tokens leave on absolute deadlines, faults happen exactly where
//! a request asks for them (the `x_sim_*` members, see [`SimConfig`]), and a
//! [`SimHandle`] shows a test what became of every request. Every answer calls itself
//! `simulated` in its `system_fingerprint`.
//!
//! It asks for no key and trusts its peers: it belongs behind an agent or in a test.

mod answer;
mod body;
mod config;
mod embeddings;
mod handle;
mod record;
mod refusal;
mod request;
mod route;
mod server;
mod service;
mod text;
mod upload;

pub use config::SimConfig;
pub use handle::SimHandle;
pub use record::{REQUESTS_KEPT_MAX, RequestRecord, Stats};
pub use server::{GRACE, Sim};
pub use service::BODY_BYTES_MAX;
pub use upload::upload_hash;
