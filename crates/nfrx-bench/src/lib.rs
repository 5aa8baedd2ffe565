//! Measures nfrx and its peers on the same way to the same simulated backend, in one run.
//!
//! One thread drives (`load`), processes of their own relay (`target`), one more answers. What a
//! relay costs is read from `/proc`, per request and per chunk, which says more than times do on a
//! machine that others use too; what is compared is measured in turn, round by round, and the
//! medians are told with their spread. It judges figures, not behaviour: that answers are whole is
//! checked, what they say is not. Linux only.

// What a measurement says is its product, and it says it to a person.
#![allow(clippy::print_stdout, reason = "a measurement reports to the person who started it")]

mod aims;
mod cli;
mod figure;
mod http;
mod jobs;
mod load;
mod machine;
mod process;
mod reach;
mod reading;
mod report;
mod results;
mod scratch;
mod session;
mod shaper;
mod stats;
mod swarm;
mod target;

pub use cli::run;

/// The hidden subcommand that is the simulated backend.
const BACKEND: &str = "backend";
