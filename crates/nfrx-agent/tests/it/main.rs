//! The agent's parts against backends that do exactly what a test wants.

mod backend;
mod cancel;
mod framing;
mod life;
mod limits;
mod local;
mod passing;
mod relay;
mod reuse;
