//! The relay, its agents and their backends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nfrx_sim::{Sim, SimConfig, SimHandle};
use nfrx_testkit::fault::Dice;
use nfrx_testkit::relay::{AgentPlan, Carrier, Kind, Relay, config};
use tokio::task::JoinSet;

use crate::member::Member;
use crate::outcome::Outcomes;

/// The longest silence of a backend within a request.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Agents: kind, id, carrier, slots, delay of the path in milliseconds.
const MEMBERS: [(Kind, &str, Carrier, u32, u64); 10] = [
    (Kind::Llm, "llm-a", Carrier::H2, 8, 0),
    (Kind::Llm, "llm-b", Carrier::H2, 8, 0),
    (Kind::Llm, "llm-c", Carrier::H2, 4, 5),
    (Kind::Llm, "llm-d", Carrier::V1, 8, 0),
    (Kind::Llm, "llm-e", Carrier::V1, 4, 5),
    (Kind::Asr, "asr-a", Carrier::H2, 8, 0),
    (Kind::Asr, "asr-b", Carrier::H2, 4, 5),
    (Kind::Asr, "asr-c", Carrier::V1, 8, 0),
    (Kind::Docling, "docling-a", Carrier::H2, 8, 0),
    (Kind::Docling, "docling-b", Carrier::V1, 8, 0),
];

/// Everything that stands for the whole run.
pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) server: SocketAddr,
    pub(crate) sims: Vec<SimHandle>,
    /// Where the first backend listens; all answer alike.
    pub(crate) backend: SocketAddr,
    backends: JoinSet<()>,
}

impl World {
    /// Starts server and backends, and makes agents that are not there yet.
    pub(crate) async fn start(seed: u64, outcomes: &Outcomes) -> Result<(Self, Vec<Member>)> {
        let relay = Relay::bind(config(&[("queue_max_wait", "10s")])).await;
        let server = relay.addr().context("a bound server has an address")?;
        let (mut sims, mut members, mut backends) = (Vec::new(), Vec::new(), JoinSet::new());
        let mut first = None;
        for (kind, id, carrier, slots, delay) in MEMBERS {
            let sim = Sim::bind((Ipv4Addr::LOCALHOST, 0).into(), SimConfig::default()).await?;
            let addr = sim.addr();
            first.get_or_insert(addr);
            sims.push(sim.handle());
            backends.spawn(async move {
                // It says itself that it has no error to give.
                let _ = sim.serve(std::future::pending()).await;
            });
            let plan = AgentPlan {
                carrier,
                embedding_batch_size: 8,
                request_timeout: Some(SILENCE_MAX),
                ..AgentPlan::of(kind, id, slots)
            };
            let delay = (delay > 0).then(|| Duration::from_millis(delay));
            let dice = Dice::new(seed, id);
            members.push(Member::new(plan, server, addr, delay, dice, outcomes.faults.clone()));
        }
        let backend = first.context("there are agents")?;
        Ok((Self { relay, server, sims, backend, backends }, members))
    }

    /// Stops the server as a signal does and waits for its end, then ends the backends.
    pub(crate) async fn end(mut self) {
        self.relay.stop();
        self.relay.ended().await;
        self.backends.shutdown().await;
    }
}
