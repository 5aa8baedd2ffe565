//! nfrx, the command line: picks what to run and turns its result into an exit code.

mod cli;
mod commands;
mod plugins;
mod random_key;
mod state_dir;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request takes and gives back some seventy pieces of memory; with the system's allocator that was a
/// tenth of its cost (`docs/performance.md`, "Found so far").
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The configuration contract §1.1: a command line that can't be read.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    // A word for the agent alone, in front of a command that is not to be read as ours.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == nfrx_mcp::agent::stdio::SUPERVISE) {
        return outcome(nfrx_mcp::agent::stdio::supervise(args).map_err(Into::into));
    }
    let invocation = match cli::parse(std::env::args()) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Help goes to stdout and is no error; clap knows which is which.
            let _ = error.print();
            return if error.use_stderr() { USAGE_ERROR.into() } else { ExitCode::SUCCESS };
        }
    };
    outcome(commands::run(invocation))
}

fn outcome(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nfrx: {error:#}");
            ExitCode::FAILURE
        }
    }
}
