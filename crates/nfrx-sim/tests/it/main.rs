//! The simulated backend as its clients see it, over real sockets and plain HTTP.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cancel;
mod embeddings;
mod faults;
mod pace;
mod server;
mod shapes;
mod streams;
mod world;
