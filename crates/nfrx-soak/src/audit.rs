//! What must hold when the load pauses.

use std::collections::BTreeMap;
use std::time::Duration;

use nfrx_testkit::http::{HttpClient, get};
use nfrx_testkit::relay::API_KEY;
use serde_json::Value;
use tokio::time::Instant;

use crate::member::Member;
use crate::outcome::Outcomes;
use crate::process;
use crate::world::World;

/// How long things may take to become quiet: a dead path is noticed after 15 s.
const QUIET_AFTER: Duration = Duration::from_secs(60);
/// How often it is looked at: the server takes no newer snapshot of its state.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the process holds at a pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) memory_kib: u64,
    pub(crate) tasks: usize,
    pub(crate) files: usize,
}

impl Reading {
    pub(crate) fn take() -> Self {
        Self { memory_kib: process::memory_kib(), tasks: process::tasks(), files: process::files() }
    }
}

/// Waits until nothing is under way any more; what is left then is a violation.
pub(crate) async fn becomes_quiet(world: &World, members: &[Member], outcomes: &Outcomes) {
    let patience = Instant::now() + QUIET_AFTER;
    loop {
        let left = under_way(world, members).await;
        if left.is_empty() {
            return;
        }
        if Instant::now() > patience {
            return outcomes
                .violate(format!("still there {QUIET_AFTER:?} after the load: {}", left.join(", ")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// With no agent there, waits until the process holds what it held at first; gives what it
/// holds then.
pub(crate) async fn becomes_empty(world: &World, at_first: Reading, outcomes: &Outcomes) -> Reading {
    let patience = Instant::now() + QUIET_AFTER;
    loop {
        let reading = Reading::take();
        if reading.tasks <= at_first.tasks && reading.files <= at_first.files {
            break;
        }
        if Instant::now() > patience {
            outcomes.violate(format!("left over: {reading:?}, at first {at_first:?}"));
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let reading = Reading::take();
    counters_agree(world, outcomes).await;
    reading
}

async fn under_way(world: &World, members: &[Member]) -> Vec<String> {
    let mut left = Vec::new();
    let mut expect_none = |what: &str, count: f64| {
        if count != 0.0 {
            left.push(format!("{what} = {count}"));
        }
    };
    let metrics = Metrics::read(world).await;
    for name in
        ["nfrx_request_inflight", "nfrx_queue_length", "nfrx_tunnel_streams_open", "nfrx_agent_jobs_inflight"]
    {
        expect_none(name, metrics.sum(name));
    }
    let state = ask(world, "/api/state").await;
    let state: Value = serde_json::from_str(&state).unwrap_or_default();
    for plugin in ["llm", "asr", "docling"] {
        let jobs = &state["plugins"][plugin]["server"]["jobs_inflight_total"];
        expect_none(plugin, jobs.as_f64().unwrap_or(f64::NAN));
    }
    expect_none(
        "requests at the server",
        state["plugins"]["server"]["drainable_inflight"].as_f64().unwrap_or(f64::NAN),
    );
    for member in members {
        expect_none(member.id(), f64::from(member.jobs()));
    }
    for (nth, sim) in world.sims.iter().enumerate() {
        expect_none(&format!("backend {nth}"), sim.in_flight() as f64);
    }
    left
}

/// What was started has ended, as success, failure or cancel, and no gauge is off.
async fn counters_agree(world: &World, outcomes: &Outcomes) {
    let metrics = Metrics::read(world).await;
    let (accepted, started, completed) = (
        metrics.sum("nfrx_request_total"),
        metrics.sum("nfrx_request_started_total"),
        metrics.sum("nfrx_request_completed_total"),
    );
    if started != completed || accepted < started {
        outcomes.violate(format!("{accepted} requests accepted, {started} started, {completed} completed"));
    }
    for name in ["nfrx_request_inflight", "nfrx_queue_length", "nfrx_tunnel_open", "nfrx_tunnel_streams_open"]
    {
        if metrics.has_other_than_zero(name) {
            outcomes.violate(format!("{name} is not zero everywhere without agents"));
        }
    }
    // The one that asks.
    if metrics.sum("nfrx_server_connections") != 1.0 {
        outcomes.violate(format!("{} connections without clients", metrics.sum("nfrx_server_connections")));
    }
    if metrics.sum("nfrx_server_panics_total") != 0.0 {
        outcomes.violate("a handler panicked".to_owned());
    }
    for sim in &world.sims {
        let stats = sim.stats();
        if stats.started != stats.finished + stats.cancelled + stats.cut + stats.in_flight {
            outcomes.violate(format!("a backend's counters contradict each other: {stats:?}"));
        }
    }
}

/// Samples of the metrics page: name without labels, values.
struct Metrics(BTreeMap<String, Vec<f64>>);

impl Metrics {
    async fn read(world: &World) -> Self {
        let text = ask(world, "/metrics").await;
        let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let name = series.split('{').next().unwrap_or_default();
            samples.entry(name.to_owned()).or_default().push(value.parse().unwrap_or(f64::NAN));
        }
        Self(samples)
    }

    fn sum(&self, name: &str) -> f64 {
        self.0.get(name).map_or(0.0, |values| values.iter().sum())
    }

    fn has_other_than_zero(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|values| values.iter().any(|value| *value != 0.0))
    }
}

/// The text at a path; empty when it can't be had, which then shows.
async fn ask(world: &World, path: &str) -> String {
    let asking = async {
        let mut client = HttpClient::connect(world.server).await.ok()?;
        Some(client.ask(get(path, Some(API_KEY))).await.ok()?.text())
    };
    tokio::time::timeout(Duration::from_secs(10), asking).await.ok().flatten().unwrap_or_default()
}
