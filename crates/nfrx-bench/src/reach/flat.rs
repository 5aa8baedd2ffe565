//! What a request costs the server as workers, models and the queue become many.
//!
//! All sizes run at once, each with a server of its own, and are measured in turn. What workers
//! cost at rest, their heartbeats, is taken off and told apart.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;
use super::relay::Relay;
use super::rows::{Goal, Rows};
use crate::figure::{Figure, Work};
use crate::load::{self, Times};
use crate::reading;
use crate::swarm::Swarm;

/// A server of some size, and who asks it.
struct Size {
    name: &'static str,
    /// 0 for many.
    workers: u32,
    models: u32,
    slots: u32,
    connections: usize,
    /// Until the load is even.
    warm_up: Duration,
}

const fn size(name: &'static str, workers: u32, models: u32, slots: u32, connections: usize) -> Size {
    Size { name, workers, models, slots, connections, warm_up: Duration::from_millis(500) }
}

/// So many clients that all but ten wait.
const WAITING: usize = 10_000;

/// The aim is flat, which a tenth more is on a machine that others use too.
const FLAT: Goal = Some((1.3, 1.1));

const SIZES: [Size; 8] = [
    size("10 workers", 10, 1, 16, 16),
    size("many workers", 0, 1, 16, 16),
    size("1,000 workers, 1 model", 1_000, 1, 16, 16),
    size("1,000 workers, 1,000 models", 1_000, 1_000, 16, 16),
    size("10 slots, nobody waits", 10, 1, 1, 10),
    Size { warm_up: Duration::from_secs(4), ..size("10 slots, 9,990 wait", 10, 1, 1, WAITING) },
    Size { warm_up: Duration::from_secs(2), ..size("10 slots, 90 wait", 10, 1, 1, 100) },
    // Each has 100 of them.
    size("10 workers, 1,000 models", 10, 1_000, 16, 16),
];

/// Which size is compared with which.
const RATIOS: [(&str, usize, usize); 5] = [
    ("workers 10 → many", 0, 1),
    ("models 1 → 1,000, of 10 workers", 0, 7),
    ("models 1 → 1,000, of 1,000 workers", 2, 3),
    ("queue 0 → 9,990", 4, 5),
    ("queue 90 → 9,990", 6, 5),
];

pub(super) async fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let mut relays = Vec::new();
    for (number, size) in SIZES.iter().enumerate() {
        let folder = bench.scratch.folder(&format!("flat-{number}"))?;
        let mut relay = Relay::start(bench.nfrx()?, folder).await?;
        let Size { models, slots, .. } = *size;
        let count = if size.workers == 0 { bench.plan.workers } else { size.workers };
        relay.join(Swarm { from: 0, count, models, slots }).await.context(size.name)?;
        relays.push(relay);
    }
    let mut costs = Vec::new();
    for (size, relay) in SIZES.iter().zip(&relays) {
        let (cost, rest) = cost(size, relay, bench.window()).await.context(size.name)?;
        rows.add(format!("server CPU per request, {}", size.name), "µs", None, cost);
        if size.workers == 0 {
            let about = format!("server CPU at rest, {}", size.name);
            rows.add(about, "ms/s", None, rest.as_secs_f64() * 1e3);
        }
        costs.push(cost);
    }
    for (about, small, large) in RATIOS {
        let about = format!("cost per request, {about}");
        rows.add(about, "×", FLAT, costs[large] / costs[small]);
    }
    Ok(())
}

/// Microseconds of the server a request, and its rest a second.
async fn cost(size: &Size, relay: &Relay, window: Duration) -> Result<(f64, Duration)> {
    let rest = relay.rest(window).await?;
    let work = match size.models {
        1 => Work::Requests(size.connections),
        models => Work::Models { connections: size.connections, models },
    };
    let figure = Figure { name: "flat", about: size.name, work };
    let times = Times { warm_up: size.warm_up, window, repeats: 1 };
    let mut observed = load::measure(&figure, &relay.target, &relay.swarms[0], times).await?;
    let reading = reading::read(&figure, &mut observed);
    let (cost, rate) = (reading.get("cpu_us").context("no request")?, reading["requests_per_s"]);
    Ok((cost - rest.as_secs_f64() * 1e6 / rate, rest))
}
