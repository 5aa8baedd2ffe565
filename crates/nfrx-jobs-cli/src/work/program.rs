//! A program while it runs: its streams, what it tells, and its end with all that it started.

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub(super) use unix::{Program, Running, Stdin};

/// What became of a program.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: std::process::ExitStatus,
    /// The last lines of its standard error.
    pub(super) words: String,
}
