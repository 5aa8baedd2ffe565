//! Which backend `up` fronts: the one that was named, an engine on this machine, or the
//! simulated one.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use nfrx_agent::BaseUrl;
use nfrx_llm::agent::{detect, local_engines};
use nfrx_sim::{Sim, SimConfig};

/// Asks for the simulated backend though there may be an engine.
const SIMULATED: &str = "sim";

/// The simulated engine's rate: as a model on a good laptop.
const SIM_TOKENS_PER_SECOND: f64 = 20.0;

/// A backend and what is said of it.
pub(super) struct Chosen {
    pub(super) base: String,
    pub(super) sentence: String,
    /// To be served, when it is ours.
    pub(super) sim: Option<Sim>,
}

/// Takes `named` if there is one, else looks on this machine.
pub(super) async fn choose(named: &str) -> anyhow::Result<Chosen> {
    if named == SIMULATED {
        return simulated("").await;
    }
    if !named.is_empty() {
        let base = BaseUrl::parse(named).context("`--backend` is neither `sim` nor an address")?;
        return Ok(Chosen { base: base.to_string(), sentence: format!("{base}, as told"), sim: None });
    }
    if let Some(found) = detect(local_engines()).await {
        let base = found.candidate.base.to_string();
        let sentence = format!("{} at {base}, found on this machine", found.candidate.name);
        return Ok(Chosen { base, sentence, sim: None });
    }
    let searched: Vec<_> =
        local_engines().iter().map(|engine| format!("{} ({})", engine.base, engine.name)).collect();
    simulated(&format!(", since no engine answers at {}; `--backend URL` names another", searched.join(", ")))
        .await
}

async fn simulated(why: &str) -> anyhow::Result<Chosen> {
    let config = SimConfig { tokens_per_second: SIM_TOKENS_PER_SECOND, ..SimConfig::default() };
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sim = Sim::bind(addr, config).await.context("no port is free for the simulated backend")?;
    let sentence = format!("simulated, its answers are made-up words{why}");
    Ok(Chosen { base: format!("http://{}/v1", sim.addr()), sentence, sim: Some(sim) })
}
