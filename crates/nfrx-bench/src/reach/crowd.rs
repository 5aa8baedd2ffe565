//! Paced streams while many workers are connected: when their tokens come, and how many
//! streams there may be until they come late.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;
use super::relay::Relay;
use super::rows::{Goal, Rows};
use crate::figure::{Figure, Work};
use crate::load::{self, Times};
use crate::reading::{self, Reading};
use crate::swarm::Swarm;
use crate::target::{Backend, Target};

const SLOTS: u32 = 4;
const PER_SECOND: u64 = 20;
/// What lies between two tokens of a stream, in microseconds.
const PACE_US: f64 = 1e6 / PER_SECOND as f64;
/// The streams of the goal.
const STREAMS: usize = 1_000;
/// How often these are measured; the median counts, since the first comes right after all workers.
const WINDOWS: usize = 3;
/// What is tried to find the most; more has no room among a server's connections here.
const STEPS: [usize; 8] = [250, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000];
/// How many there may be is reported; fewer than the goal's own miss it.
const MOST: Goal = Some((STREAMS as f64, 5_000.0));
/// A gap is late when it is longer than the pace by so much.
const LATE_US: f64 = 20_000.0;

pub(super) async fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let backend = Backend::start(&bench.scratch.folder("sim")?).await?;
    let mut relay = Relay::start(bench.nfrx()?, bench.scratch.folder("crowd")?).await?;
    relay.join(Swarm { from: 0, count: bench.plan.workers, models: 1, slots: SLOTS }).await?;
    let direct = Target::direct(&backend);
    let direct = paced(bench, STREAMS, &direct, &backend).await.context("direct")?;
    let mut relayed = Vec::with_capacity(WINDOWS);
    for _ in 0..WINDOWS {
        relayed.push(load_of(bench, STREAMS, &relay).await.context("relayed")?);
    }
    relayed.sort_by(|one, other| one["gap_p99_us"].total_cmp(&other["gap_p99_us"]));
    let ours = relayed.swap_remove(WINDOWS / 2);
    tell(bench.plan.workers, &direct, &ours, rows)?;
    let mut most = 0;
    for streams in STEPS {
        let ours = load_of(bench, streams, &relay).await.with_context(|| format!("{streams} streams"));
        let ours = match ours {
            Ok(ours) => ours,
            Err(error) => {
                eprintln!("{streams} streams: {error:#}");
                break;
            }
        };
        let gap = ours["gap_p99_us"];
        eprintln!(
            "{streams} streams: p99 gap {:.1} ms above the pace, server {:.1} µs a chunk, {:.0} chunks/s",
            (gap - PACE_US) / 1e3,
            ours["cpu_us.server"],
            ours["chunks_per_s"]
        );
        if gap - PACE_US >= LATE_US {
            break;
        }
        most = streams;
    }
    rows.add("most such streams with a p99 gap less than 20 ms over the pace", "", MOST, most as f64);
    Ok(())
}

fn tell(workers: u32, direct: &Reading, ours: &Reading, rows: &mut Rows) -> Result<()> {
    let name = format!("{workers} workers, 1,000 streams of 20 tokens/s");
    let (gap, without) = (ours["gap_p99_us"], direct["gap_p99_us"]);
    rows.add(format!("{name}: p99 gap added"), "ms", Some((20.0, 5.0)), (gap - without) / 1e3);
    rows.add("… p99 gap over the pace, relayed", "ms", None, (gap - PACE_US) / 1e3);
    rows.add("… p99 gap over the pace, direct", "ms", None, (without - PACE_US) / 1e3);
    rows.add("… server CPU per chunk", "µs", None, ours["cpu_us.server"]);
    let rss = ours.get("rss_kib.server").context("the server has no memory")?;
    rows.add("… server memory under this load", "MiB", None, rss / 1024.0);
    Ok(())
}

async fn load_of(bench: &Bench<'_>, streams: usize, relay: &Relay) -> Result<Reading> {
    let figure = figure(streams);
    let mut observed = load::measure(&figure, &relay.target, &relay.swarms[0], times(bench)).await?;
    Ok(reading::read(&figure, &mut observed))
}

async fn paced(bench: &Bench<'_>, streams: usize, target: &Target, backend: &Backend) -> Result<Reading> {
    let figure = figure(streams);
    let mut observed = load::measure(&figure, target, &backend.process, times(bench)).await?;
    Ok(reading::read(&figure, &mut observed))
}

fn figure(streams: usize) -> Figure {
    Figure { name: "crowd", about: "paced streams", work: Work::Paced { streams, per_second: PER_SECOND } }
}

/// All streams have begun when the window does.
fn times(bench: &Bench<'_>) -> Times {
    Times { warm_up: Duration::from_secs(4), window: bench.window(), repeats: 1 }
}
