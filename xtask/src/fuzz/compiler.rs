//! This program in the compiler's place: cargo starts it for each crate of the workspace, and
//! it starts the compiler with what makes libFuzzer's counters. They are passes of LLVM, which
//! need no other toolchain than everybody's.

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Set when this program is to be a compiler.
pub(crate) const MARK: &str = "NFRX_XTASK_IS_RUSTC";

/// One counter for each edge, a table of their places, and the operands of comparisons, from
/// which libFuzzer learns what a parser waits for.
const COUNTERS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Compiles, if cargo started us for that: with the compiler's path and its arguments.
pub(crate) fn run() -> Option<ExitCode> {
    env::var_os(MARK)?;
    let mut args = env::args_os().skip(1);
    let Some(rustc) = args.next() else { return Some(ExitCode::FAILURE) };
    let args: Vec<OsString> = args.collect();
    let mut command = Command::new(rustc);
    if is_product(&args) {
        command.args(COUNTERS);
    }
    match command.args(args).status() {
        Ok(status) => Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Err(error) => {
            eprintln!("xtask: cannot start the compiler: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}

/// Whether a crate of ours is compiled: not a program that cargo runs while it builds, nor
/// just a question to the compiler.
fn is_product(args: &[OsString]) -> bool {
    let mut names = args.iter().skip_while(|arg| *arg != "--crate-name").skip(1);
    names.next().is_some_and(|name| name != "build_script_build" && name != "___")
}

#[cfg(test)]
mod tests {
    use super::is_product;

    #[track_caller]
    fn check(line: &str, expected: bool) {
        let args: Vec<_> = line.split(' ').map(Into::into).collect();
        assert_eq!(is_product(&args), expected, "{line}");
    }

    // Seen to fail: with each of the two names let through.
    #[test]
    fn only_crates_get_counters() {
        check("--crate-name nfrx_spi --edition=2024 lib.rs", true);
        check("--crate-name build_script_build build.rs", false);
        check("- --crate-name ___ --print=file-names", false);
        check("-vV", false);
    }
}
