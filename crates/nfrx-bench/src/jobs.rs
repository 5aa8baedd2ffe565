//! `jobs`: our job queue beside a real one, each in turn, durable and in memory.

mod figure;
mod link;
mod queue;
mod redis;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::machine::Machine;
use crate::report::{Table, save};
use crate::scratch::Scratch;
use crate::stats::Summary;
use figure::{Amounts, Readings};
use queue::{Kind, Mode, NFRX, Queue, REDIS};

const AMOUNTS: Amounts =
    Amounts { window: Duration::from_secs(5), waiting: 100_000, types: 1000, claims: 5000, wakes: 500 };
const QUICK: Amounts =
    Amounts { window: Duration::from_secs(1), waiting: 10_000, types: 1000, claims: 2000, wakes: 100 };

/// A row of the table: how it is named, and its reading.
type Row = (&'static str, fn(&Readings) -> f64);

const ROWS: [Row; 7] = [
    ("jobs made per second, 16 clients", |readings| readings.creates_per_s),
    ("CPU per job made, µs", |readings| readings.create_cpu_us),
    ("claim, one waiting per type, p50 µs", |readings| readings.claim_few_p50_us),
    ("claim, all waiting, p50 µs", |readings| readings.claim_p50_us),
    ("claim, all waiting, p99 µs", |readings| readings.claim_p99_us),
    ("wake-up of a waiting claim, p50 µs", |readings| readings.wake_p50_us),
    ("wake-up of a waiting claim, p99 µs", |readings| readings.wake_p99_us),
];

/// What is measured, how often, with which programs.
#[derive(Debug)]
pub(crate) struct JobsPlan<'a> {
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
    pub(crate) nfrx: &'a Path,
    /// The peer; without it there are figures all the same.
    pub(crate) redis: Option<&'a Path>,
}

/// What came out, as it is written down.
#[derive(Debug, Serialize)]
struct Results<'a> {
    machine: &'a Machine,
    waiting: usize,
    types: usize,
    queues: Vec<Measured>,
}

/// One queue, all its rounds.
#[derive(Debug, Serialize)]
struct Measured {
    queue: String,
    rounds: Vec<Readings>,
}

/// Measures, prints the table and writes everything to `file`.
pub(crate) async fn measure(plan: &JobsPlan<'_>, file: &Path) -> Result<()> {
    let machine = Machine::look();
    let amounts = if plan.quick { &QUICK } else { &AMOUNTS };
    let mut queues: Vec<_> = kinds(plan)
        .into_iter()
        .map(|kind| (kind, Measured { queue: kind.to_string(), rounds: Vec::new() }))
        .collect();
    for _ in 0..plan.rounds {
        for (kind, measured) in &mut queues {
            measured.rounds.push(round(*kind, amounts).await?);
        }
    }
    let queues: Vec<_> = queues.into_iter().map(|(_, measured)| measured).collect();
    println!(
        "{} jobs of {} types waiting, medians of {} rounds",
        amounts.waiting, amounts.types, plan.rounds
    );
    println!("{}", table(&queues));
    if plan.redis.is_none() {
        println!("left out: redis-server is not on PATH (Debian: apt-get install redis-server)");
    }
    let results = Results { machine: &machine, waiting: amounts.waiting, types: amounts.types, queues };
    save(&results, file)?;
    println!("written to {}", file.display());
    Ok(())
}

/// Ours and the peer side by side, durable first.
fn kinds<'a>(plan: &JobsPlan<'a>) -> Vec<Kind<'a>> {
    let both = |mode| {
        let ours = Kind { name: NFRX, program: plan.nfrx, mode };
        std::iter::once(ours).chain(plan.redis.map(|program| Kind { name: REDIS, program, mode }))
    };
    both(Mode::Durable).chain(both(Mode::Memory)).collect()
}

/// A queue of its own for each round, so that none begins with what another left.
async fn round(kind: Kind<'_>, amounts: &Amounts) -> Result<Readings> {
    let scratch = Scratch::new()?;
    let folder = scratch.folder("queue")?;
    let queue = Queue::start(kind, amounts.types, &folder).await?;
    let readings = Readings::take(&queue, amounts).await;
    readings.with_context(|| format!("{kind}: {}", queue.process.log_end()))
}

fn table(queues: &[Measured]) -> Table {
    let mut table = Table::new(queues.iter().map(|measured| measured.queue.clone()));
    for (name, reading) in ROWS {
        let cell = |measured: &Measured| {
            let summary = Summary::new(measured.rounds.iter().map(reading).collect())?;
            Some(format!("{:.0} ±{:.0}%", summary.median, summary.spread() * 100.0))
        };
        table.row(name, queues.iter().map(cell));
    }
    table
}
