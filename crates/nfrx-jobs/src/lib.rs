//! Jobs and transfers: work that outlives its request.
//!
//! A client makes a job and follows it; a worker claims it, asks for channels to read the
//! payload and write the result, and says how it ends. The bytes pass from one to the other
//! without being kept, unless the client asks for that: then they lie in the spool.
//!
//! ```text
//!  client ──▶ http ──▶ service ──▶ store        every change: committed, then told
//!  worker ──▶          │  │  └───▶ watch        who follows a job
//!                      │  └──────▶ waiting      who waits for one
//!                      ├─────────▶ transfer     one-time channels, nothing kept
//!                      └─────────▶ spool        payloads and results that are kept
//! ```
//!
//! What may happen to a job is decided in one place, `job`, by a pure function; the store
//! calls it inside a transaction, so that a job is given to one worker only and an answer
//! stands for what is on the disk.

mod answer;
mod http;
mod ids;
mod job;
mod json;
mod labels;
mod metrics;
mod options;
mod plugin;
mod presence;
mod service;
mod spool;
mod state;
mod store;
mod time;
mod transfer;
mod waiting;
mod watch;
mod workers;

pub use plugin::JobsFactory;
