//! `nfrx up`: server, agent and backend in one process, ready to use.

mod backend;
mod greeting;
mod keys;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use nfrx_agent::{Agent, AgentConfig, AgentStatus, BaseUrl, LocalConfig};
use nfrx_llm::agent::{ApiStyle, LlmConfig, agent};
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::{Drain, signals};
use nfrx_server::{Server, ServerConfig, StartError};
use nfrx_spi::{ArgSpec, ArgType};

use tokio::sync::watch;

use super::CommandName;
use crate::{plugins, state_dir};
use backend::Chosen;
use greeting::Greeting;
use keys::Keys;

/// Other ports to try when the wanted one is taken, as by an engine.
const PORTS_TRIED: u16 = 20;

/// How long the greeting waits for the agent to have found models.
const READY_PATIENCE: Duration = Duration::from_secs(5);

/// How long the backend may be silent within a request.
const BACKEND_SILENCE_MAX: Duration = Duration::from_secs(300);

/// How often the backend's models are looked at: a newcomer pulls them while this runs.
const MODEL_POLL: Duration = Duration::from_secs(10);

/// How long the agent may take to end once the server has.
const AGENT_GRACE: Duration = Duration::from_secs(5);

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(CommandName::Up.text(), specs());
    catalogue
}

fn specs() -> Vec<ArgSpec> {
    vec![
        ArgSpec::new("log_level", ArgType::String, "all, debug, info, warn, error or none")
            .from("--log-level", "LOG_LEVEL", "log_level")
            .default("warn"),
        ArgSpec::new("port", ArgType::Int, "port of the API; the next free one when it is taken")
            .from("--port", "PORT", "port")
            .default("8080"),
        ArgSpec::new("backend", ArgType::String, "address of the backend, or `sim` for the simulated one")
            .from("--backend", "NFRX_BACKEND", "backend")
            .example("http://127.0.0.1:11434/v1"),
        ArgSpec::new("max_concurrency", ArgType::Int, "requests at the backend at once")
            .from("--max-concurrency", "MAX_CONCURRENCY", "max_concurrency")
            .default("4"),
    ]
}

pub(super) fn run(loaded: &Loaded, check: bool) -> anyhow::Result<()> {
    let options = loaded.group(CommandName::Up.text());
    let port = u16::try_from(options.int("port")?).context("`--port` must be from 0 to 65535")?;
    let concurrency = u32::try_from(options.int("max_concurrency")?)
        .ok()
        .filter(|count| (1..=256).contains(count))
        .context("`--max-concurrency` must be from 1 to 256")?;
    if check {
        return Ok(());
    }
    let key_file = state_dir::path()?.join("up.json");
    let keys = keys::load_or_make(&key_file)?;
    nfrx_runtime::raise_file_limit();
    super::runtime(1)?.block_on(async {
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let mut chosen = backend::choose(options.text("backend")).await?;
        let server = bind(port, &keys).await?;
        let addr = server.addr().context("the server has a port")?;
        let drain = Drain::new();
        if let Some(sim) = chosen.sim.take() {
            drain.spawn("simulated backend", async move {
                // It only ends by being cut.
                let _ = sim.serve(std::future::pending()).await;
            });
        }
        let agent = make_agent(&chosen, addr, &keys, concurrency)?;
        let status = agent.status().watch();
        let watch = drain.watch();
        drain.spawn("agent", async move {
            if let Err(error) = agent.run(async move { watch.draining().await }).await {
                tracing::error!(%error, "the agent ended");
            }
        });
        drain.spawn("greeting", async move {
            let models = first_models(status).await;
            let backend = &chosen.sentence;
            say(&Greeting { addr, key: &keys.api, key_file: &key_file, backend, models: &models }.text());
        });
        server.serve(stop, cut).await;
        drain.begin();
        drain.cut();
        drain.finish(None).await;
        Ok(())
    })
}

/// The models that are there once agent and backend are ready, or after some patience.
async fn first_models(mut status: watch::Receiver<AgentStatus>) -> Vec<String> {
    let ready = status.wait_for(|status| status.connected_to_server && status.connected_to_backend);
    let waited = tokio::time::timeout(READY_PATIENCE, ready).await;
    waited.ok().and_then(Result::ok).map_or(Vec::new(), |status| status.labels.clone())
}

/// The one text for standard output; that nobody reads it is no reason to end.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The agent that joins our own server and the chosen backend.
fn make_agent(chosen: &Chosen, addr: SocketAddr, keys: &Keys, concurrency: u32) -> anyhow::Result<Agent> {
    let config = AgentConfig {
        server_url: format!("ws://{addr}/api/llm/connect"),
        client_key: Some(keys.client.clone()),
        worker_id: "local".to_owned(),
        worker_name: "this machine".to_owned(),
        max_concurrency: concurrency,
        request_timeout: Some(BACKEND_SILENCE_MAX),
        drain_timeout: Some(AGENT_GRACE),
        reconnect: true,
        local: LocalConfig::default(),
    };
    let llm = LlmConfig {
        base: BaseUrl::parse(&chosen.base).context("the backend's address")?,
        key: None,
        style: ApiStyle::OpenAi,
        version: None,
        embedding_batch_size: 0,
        poll_interval: MODEL_POLL,
    };
    Ok(agent(config, &llm)?)
}

/// Takes the wanted port or, since an engine may sit there, one of the next.
async fn bind(port: u16, keys: &Keys) -> anyhow::Result<Server> {
    for port in port..=port.saturating_add(if port == 0 { 0 } else { PORTS_TRIED }) {
        let mut config = ServerConfig::local();
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        config.login.api.key = Some(keys.api.clone());
        config.login.workers.key = Some(keys.client.clone());
        match Server::bind(config, plugins::all()).await {
            Ok(server) => return Ok(server),
            Err(StartError::Listen { addr, .. }) => tracing::info!(%addr, "port is taken, trying the next"),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("ports {port} to {} are taken: name a free one with `--port`", port.saturating_add(PORTS_TRIED))
}
