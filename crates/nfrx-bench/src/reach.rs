//! `cargo xtask bench reach`: how far one server reaches, part by part.
//!
//! What is told are single numbers with goals beside them, each from a part that starts its own
//! processes. Parts are measured in turn, round by round.

mod added;
mod crowd;
mod flat;
mod limits;
mod link;
mod memory;
mod relay;
mod rows;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use self::rows::Rows;
use crate::machine::Machine;
use crate::report::save;
use crate::scratch::Scratch;
use crate::session::Programs;

/// What to measure, and how.
#[derive(Debug)]
pub(crate) struct ReachPlan {
    pub(crate) parts: Vec<Part>,
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
    /// How many workers are many.
    pub(crate) workers: u32,
    /// `name=url` each.
    pub(crate) peers: Vec<String>,
    pub(crate) programs: Programs,
}

/// Something measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Memory,
    Flat,
    Added,
    Crowd,
    Link,
    Limits,
}

/// All parts, in the order they are measured in.
pub(crate) const PARTS: &[Part] =
    &[Part::Memory, Part::Flat, Part::Added, Part::Crowd, Part::Link, Part::Limits];

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Flat => "flat",
            Self::Added => "added",
            Self::Crowd => "crowd",
            Self::Link => "link",
            Self::Limits => "limits",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Memory => "the server's memory by connected workers and by open streams",
            Self::Flat => "the server's cost of a request by workers, models and the queue's length",
            Self::Added => {
                "what is added to a request and to tokens at concurrency 1, request by request in turn"
            }
            Self::Crowd => "paced streams among many connected workers, and the most of them",
            Self::Link => "streams over a slow line that one transfer fills",
            Self::Limits => "requests a second within limits of p99, of all peers",
        }
    }
}

/// What every part is handed.
#[derive(Debug)]
struct Bench<'a> {
    plan: &'a ReachPlan,
    scratch: Scratch,
}

impl Bench<'_> {
    fn nfrx(&self) -> Result<&Path> {
        self.plan
            .programs
            .nfrx
            .as_deref()
            .context("there is no nfrx beside this program: name one with --nfrx")
    }

    /// How long is measured at a time.
    fn window(&self) -> Duration {
        Duration::from_secs(if self.plan.quick { 2 } else { 5 })
    }
}

/// Measures all parts, prints a table and writes `file`. A part that fails is told, and is no error.
pub(crate) async fn measure(plan: &ReachPlan, file: &Path) -> Result<()> {
    let machine = Machine::look();
    // The processes we start have as many.
    nfrx_runtime::raise_file_limit();
    let files = nfrx_runtime::file_limit();
    let mut rows = Rows::default();
    let mut failures = Vec::new();
    for round in 1..=plan.rounds {
        for part in &plan.parts {
            eprintln!("round {round} of {}: {}", plan.rounds, part.name());
            // Each part anew: what one leaves behind must not count for the next.
            let bench = Bench { plan, scratch: Scratch::new()? };
            rows.begin(part.name());
            let measured = match part {
                Part::Memory => memory::measure(&bench, &mut rows).await,
                Part::Flat => flat::measure(&bench, &mut rows).await,
                Part::Added => added::measure(&bench, &mut rows).await,
                Part::Crowd => crowd::measure(&bench, &mut rows).await,
                Part::Link => link::measure(&bench, &mut rows).await,
                Part::Limits => limits::measure(&bench, &mut rows).await,
            };
            if let Err(error) = measured {
                eprintln!("{} failed: {error:#}", part.name());
                failures.push(format!("{}, round {round}: {error:#}", part.name()));
            }
        }
    }
    let files = files.map_or_else(|| "unknown".to_owned(), |files| files.to_string());
    let terms = format!("{} rounds, files at most {files} a process", plan.rounds);
    println!("{machine}\n{terms}. Medians of the rounds and the least of them.\n\n{rows}");
    println!("`cargo xtask bench reach --part NAME` measures the rows of a part again.");
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    let told = json!({"machine": machine, "terms": terms, "rows": rows, "failures": failures});
    save(&told, file)?;
    println!("written to {}", file.display());
    Ok(())
}
