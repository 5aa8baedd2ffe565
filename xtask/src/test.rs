//! `cargo xtask test`: every test, with what it needs.
//!
//! A test that needs Python lies in a module named `python` and reads the interpreter's path from
//! `NFRX_PYTHON`. Where there is no interpreter, these tests are left out by name, so that the closing
//! line counts them as skipped and not as passed.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::install::{self, Consent};
use crate::shell::{Workspace, echo};

/// Where the tests' Python environment lies, and what lists its packages.
const PYTHON: (&str, &str) = ("target/venv", "tests/python/requirements.txt");
/// What marks a test that needs Python, in its full name.
const PYTHON_TESTS: &str = "python::";

/// Runs all tests of the workspace; fails when one failed, or when there was none.
pub(crate) fn run(workspace: &Workspace, consent: Consent) -> Result<()> {
    let left_out = format!("the tests with `{PYTHON_TESTS}` in their name");
    let venv = install::python(workspace, consent, PYTHON, &left_out)
        .context("with NFRX_OFFLINE=1 the other tests run without it")?;
    // One failed binary must not hide the results of the others.
    let mut cargo = workspace.cargo("test --workspace --locked --no-fail-fast");
    match venv {
        // Absolute: tests start in their own package's folder.
        Some(venv) => cargo.env("NFRX_PYTHON", venv.join("bin/python")),
        None => cargo.env_remove("NFRX_PYTHON").args(["--", "--skip", PYTHON_TESTS]),
    };
    echo(&cargo);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no standard output")?;
    let tally = pass_through(output, &mut std::io::stdout().lock())?;
    let status = child.wait().context("cannot wait for cargo")?;
    println!("\n{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    match tally {
        Tally { failed: 1.., .. } => bail!("tests failed"),
        _ if !status.success() => bail!("cargo test failed ({status}), though no test says so: see above"),
        Tally { passed: 0, .. } => bail!("no test ran"),
        _ => Ok(()),
    }
}

/// The sum over all test binaries.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    passed: u64,
    failed: u64,
    /// Ignored, or left out by name.
    skipped: u64,
}

impl Tally {
    /// Adds what a line like `test result: ok. 3 passed; 0 failed; …` says; others say nothing.
    fn add(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else { return };
        let Some((_, counts)) = result.split_once(". ") else { return };
        for count in counts.split(';') {
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" | "filtered out" => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Copies `from` to `to` line by line, as the lines come, and sums the results in passing.
fn pass_through(from: impl Read, to: &mut impl Write) -> Result<Tally> {
    let mut from = BufReader::new(from);
    let mut tally = Tally::default();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).context("cannot read what cargo prints")? > 0 {
        to.write_all(&line).and_then(|()| to.flush()).context("cannot print")?;
        tally.add(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::{Tally, pass_through};

    const OUTPUT: &str = "\
running 3 tests
test says_passed_and_failed ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s
";

    #[test]
    fn results_of_all_binaries_are_summed_and_every_byte_is_passed_on() {
        let mut seen = Vec::new();
        let tally = pass_through(OUTPUT.as_bytes(), &mut seen).unwrap();
        // Seen to fail: without "filtered out" among the skipped.
        assert_eq!(tally, Tally { passed: 7, failed: 2, skipped: 6 });
        assert_eq!(seen, OUTPUT.as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_pass_too() {
        let mut seen = Vec::new();
        pass_through(&b"\xff\xfe without an end of line"[..], &mut seen).unwrap();
        assert_eq!(seen, b"\xff\xfe without an end of line");
    }
}
