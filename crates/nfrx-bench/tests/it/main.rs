//! The whole program: real processes, real ports, short rounds. What figures come out is noise here;
//! that they come out is what counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nfrx-bench");

/// The program with nothing beside it, so that it finds no other target than the backend.
///
/// A link and not a copy: while another test starts a process, a file just written is still busy.
fn alone(folder: &Path) -> PathBuf {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("tests may write below target");
    let program = folder.join("nfrx-bench");
    fs::hard_link(PROGRAM, &program).expect("tests may write below target");
    program
}

#[test]
fn every_kind_of_load_gives_figures_without_a_relay() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nfrx-bench");
    let (program, out) = (alone(&folder), folder.join("out"));
    let mut command = Command::new(program);
    command.args(["--quick", "--rounds", "1", "--out"]).arg(&out).env("PATH", "/usr/bin:/bin");
    let figures = ["small-c16", "streams-16", "paced-200", "download", "upload", "upload-json"];
    command.args(figures.iter().flat_map(|figure| ["--only", figure]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let file = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let report: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let runs = report["runs"].as_array().unwrap();
    let direct: Vec<_> = runs.iter().filter(|run| run["target"] == "direct").collect();
    assert_eq!(direct.len(), figures.len());
    for run in direct {
        // Seen to fail: with one event more expected of a stream than there are.
        let reading = run["outcome"]["Ok"].as_object().unwrap_or_else(|| panic!("{run}"));
        let rate = reading.iter().find(|(metric, _)| metric.ends_with("_per_s"));
        assert!(rate.is_some_and(|(_, rate)| rate.as_f64() > Some(0.0)), "{run}");
    }
}

#[test]
fn job_queues_are_not_measured_without_ours() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nfrx-bench-jobs");
    let output = Command::new(alone(&folder)).args(["jobs", "--quick"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--nfrx"), "the message says what to do");
}

#[test]
fn a_figure_nobody_knows_is_refused() {
    let output = Command::new(PROGRAM).args(["--only", "small-c17"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("small-c16"), "the message names what is known");
}
