//! Faults drawn from a seed: connections that break at any byte, backends that lie, agents
//! that nobody should have let in.
//!
//! What happens is decided by [`Dice`] alone, so a seed replays it; when it happens is up
//! to the machine unless the clock is paused. A [`Tally`] counts what was done.

mod dice;
mod lie;
mod raw_agent;
mod rogue;
mod stream;
mod tally;

pub use dice::Dice;
pub use lie::{Lie, MARK};
pub use raw_agent::RawAgent;
pub use rogue::Rogue;
pub use stream::{FaultyStream, StreamFault};
pub use tally::Tally;
