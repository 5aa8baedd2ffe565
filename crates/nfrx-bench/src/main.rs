//! `nfrx-bench`, started by `cargo xtask bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match nfrx_bench::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nfrx-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
