//! nfrx, the command line: picks what to run and turns its result into an exit code.

mod cli;
mod commands;
mod plugins;
mod random_key;
mod state_dir;

use std::process::ExitCode;

/// The configuration contract §1.1: a command line that can't be read.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args()) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Help goes to stdout and is no error; clap knows which is which.
            let _ = error.print();
            return if error.use_stderr() { USAGE_ERROR.into() } else { ExitCode::SUCCESS };
        }
    };
    match commands::run(invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nfrx: {error:#}");
            ExitCode::FAILURE
        }
    }
}
