//! The whole relay in one process, and what it must survive: clients that leave or stop
//! reading, agents and servers that vanish, backends that stall, requests that are wrong.
//!
//! Pipes and a paused clock: times are exact, and a run is like the one before.

mod ask;
mod asr;
mod cancel;
mod docling;
mod form;
mod idle;
mod leaving;
mod lost;
mod queue;
mod refused;
mod slow;
mod sockets;
mod takeover;
mod upload;
