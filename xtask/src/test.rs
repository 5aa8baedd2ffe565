//! `cargo xtask test`: every test, with what it needs.
//!
//! A test that needs Python lies in a module named `python` and reads the path from `NFRX_PYTHON`, or from
//! `NFRX_PYTHON_MCP_1` for the MCP client that can't live beside its successor; one
//! that needs Node may also lie in a module named `node`, and reads `NFRX_NODE`, `NFRX_NODE_MODULES` and
//! `NFRX_SDK_NODE_MODULES`. Where there is no interpreter (Node comes with Python), these tests are left out by name, so that the
//! closing line counts them as skipped and not as passed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::install::{self, Consent};
use crate::shell::{Workspace, echo};

/// Where the tests' Python environment lies, and what lists its packages.
const PYTHON: (&str, &str) = ("target/venv", "tests/python/requirements.txt");
/// The same of the MCP client before its second version.
const PYTHON_MCP_1: (&str, &str) = ("target/venv-mcp-1", "tests/python/mcp-1/requirements.txt");
/// Where the tests' JavaScript packages lie, and what lists them.
const NODE: (&str, &str) = ("target/node", "tests/node");
/// The compiler of the TypeScript SDK, and the lock file that lists it.
const SDK: (&str, &str) = ("target/node-sdk", "sdk/typescript");
/// What marks a test that needs Python or Node, in its full name.
const PYTHON_TESTS: &str = "python::";
const NODE_TESTS: &str = "node::";
/// What marks a test that needs a browser, and Node to drive it, in its full name.
const BROWSER_TESTS: &str = "browser::";
/// What marks a test that needs a proxy, in its full name.
const NGINX_TESTS: &str = "nginx::";
const CADDY_TESTS: &str = "caddy::";

/// Installs what tests need, so that it is there when they are compiled.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    tools(workspace, Consent::new(false)).map(drop)
}

/// Runs all tests of the workspace; fails when one failed, or when there was none.
pub(crate) fn run(workspace: &Workspace, consent: Consent) -> Result<()> {
    let tools = tools(workspace, consent)?;
    let mut tally = Tally::default();
    // One failed binary must not hide the results of the others.
    let mut cargo = workspace.cargo("test --workspace --locked --no-fail-fast");
    // What is not here may be named in our own environment.
    cargo.env_remove("NFRX_PYTHON").env_remove("NFRX_PYTHON_MCP_1").envs(tools.paths);
    if !tools.missing.is_empty() {
        cargo.arg("--").args(tools.missing.iter().flat_map(|mark| ["--skip", mark]));
    }
    let mut all_succeeded = tally.run(cargo)?;
    // The pool's slots once more, with loom's lock instead of the real one.
    let mut orders = Tally::default();
    let line = "test --package nfrx-pool --features loom --lib --locked interleavings::";
    all_succeeded &= orders.run(workspace.cargo(line))?;
    // What the filter leaves out has run above.
    (tally.passed, tally.failed) = (tally.passed + orders.passed, tally.failed + orders.failed);
    for example in examples(workspace)? {
        // A workspace of its own: that it builds without ours is what it shows.
        let line = format!("test --manifest-path {example} --target-dir target --locked --no-fail-fast");
        all_succeeded &= tally.run(workspace.cargo(&line))?;
    }
    println!("\n{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    match tally {
        Tally { failed: 1.., .. } => bail!("tests failed"),
        _ if !all_succeeded => bail!("cargo test failed, though no test says so: see above"),
        Tally { passed: 0, .. } => bail!("no test ran"),
        _ => Ok(()),
    }
}

/// What tests need beyond cargo, as far as it is here.
#[derive(Debug, Default)]
struct Tools {
    /// The variables in which tests find it. Absolute: tests start in their own package's folder.
    paths: Vec<(&'static str, PathBuf)>,
    /// The marks of tests that lack something.
    missing: Vec<&'static str>,
}

impl Tools {
    /// Notes where the command of a need is, or that tests with `mark` lack it.
    fn add(&mut self, mark: &'static str, variable: &'static str, command: Option<&str>) {
        match command {
            Some(command) => self.paths.push((variable, command.into())),
            None => self.missing.push(mark),
        }
    }
}

fn tools(workspace: &Workspace, consent: Consent) -> Result<Tools> {
    let left_out = named(&[PYTHON_TESTS, NODE_TESTS, BROWSER_TESTS]);
    let without = "with NFRX_OFFLINE=1 the other tests run without it";
    let python = |environment| install::python(workspace, consent, environment, &left_out).context(without);
    let command = |need, mark| install::command(workspace, consent, need, &named(&[mark]));
    let mut tools = Tools::default();
    match python(PYTHON)?.zip(python(PYTHON_MCP_1)?) {
        Some((venv, mcp_1)) => {
            let node = |packages| install::node(workspace, consent, &venv, packages).context(without);
            let ((node, modules), (_, sdk_modules)) = (node(NODE)?, node(SDK)?);
            tools.paths = vec![
                ("NFRX_PYTHON", venv.join("bin/python")),
                ("NFRX_PYTHON_MCP_1", mcp_1.join("bin/python")),
                ("NFRX_NODE", node),
                ("NFRX_NODE_MODULES", modules),
                ("NFRX_SDK_NODE_MODULES", sdk_modules),
            ];
            tools.add(BROWSER_TESTS, "NFRX_BROWSER", command(&install::BROWSER, BROWSER_TESTS)?);
        }
        None => tools.missing.extend([PYTHON_TESTS, NODE_TESTS, BROWSER_TESTS]),
    }
    tools.add(NGINX_TESTS, "NFRX_NGINX", command(&install::NGINX, NGINX_TESTS)?);
    tools.add(CADDY_TESTS, "NFRX_CADDY", command(&install::CADDY, CADDY_TESTS)?);
    Ok(tools)
}

/// The tests with these marks, in words.
fn named(marks: &[&str]) -> String {
    let marks: Vec<_> = marks.iter().map(|mark| format!("`{mark}`")).collect();
    format!("the tests with {} in their name", marks.join(", "))
}

/// The manifests of the plugins from outside, relative to the root.
pub(crate) fn examples(workspace: &Workspace) -> Result<Vec<String>> {
    let Ok(folders) = std::fs::read_dir(workspace.path("examples")) else { return Ok(Vec::new()) };
    let mut manifests = Vec::new();
    for folder in folders {
        let manifest = format!("examples/{}/Cargo.toml", folder?.file_name().to_string_lossy());
        if workspace.path(&manifest).is_file() {
            manifests.push(manifest);
        }
    }
    manifests.sort_unstable();
    Ok(manifests)
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
    /// Runs a `cargo test`, adds its results, and tells whether it succeeded.
    fn run(&mut self, mut cargo: Command) -> Result<bool> {
        echo(&cargo);
        let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let output = child.stdout.take().context("cargo has no standard output")?;
        self.pass_through(output, &mut std::io::stdout())?;
        Ok(child.wait().context("cannot wait for cargo")?.success())
    }

    /// Copies `from` to `to` line by line, as the lines come, and sums the results in
    /// passing.
    fn pass_through(&mut self, from: impl Read, to: &mut impl Write) -> Result<()> {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).context("cannot read what cargo prints")? > 0 {
            to.write_all(&line).and_then(|()| to.flush()).context("cannot print")?;
            self.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::Tally;

    const OUTPUT: &str = "\
running 3 tests
test says_passed_and_failed ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s
";

    #[test]
    fn results_of_all_binaries_are_summed_and_every_byte_is_passed_on() {
        let mut seen = Vec::new();
        let mut tally = Tally::default();
        tally.pass_through(OUTPUT.as_bytes(), &mut seen).unwrap();
        // Seen to fail: without "filtered out" among the skipped.
        assert_eq!(tally, Tally { passed: 7, failed: 2, skipped: 6 });
        assert_eq!(seen, OUTPUT.as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_pass_too() {
        let mut seen = Vec::new();
        Tally::default().pass_through(&b"\xff\xfe without an end of line"[..], &mut seen).unwrap();
        assert_eq!(seen, b"\xff\xfe without an end of line");
    }
}
