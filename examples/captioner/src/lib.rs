//! A plugin from outside the workspace: a relay for image captioners.
//!
//! Clients send pictures to the server, agents behind NAT caption them. The server half
//! picks a worker for each picture, or splits a list of them over many workers; the agent
//! half does the work. It needs no model: it *measures* a picture (its size, how bright it
//! is, which colour prevails) and puts that into words. It understands nothing of what the
//! picture shows, and does not say so either.
//!
//! `docs/plugin-guide.md` walks through this crate in a quarter of an hour. The parts:
//! [`CaptionerFactory`] is what a binary lists, [`agent`] is the other half, [`wire`] is
//! what the halves say to each other, [`draw`] makes pictures for the demo and tests.

pub mod agent;
pub mod demo;
pub mod draw;
mod server;
pub mod wire;

pub use server::CaptionerFactory;
