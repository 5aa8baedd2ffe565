//! The agent half: what stands between the tunnel and one private server.

pub mod stdio;
