//! An agent under test: started from a plan, watched, stopped or killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nfrx_agent::client::{BackendClient, Connector};
use nfrx_agent::{Agent, AgentConfig, AgentError, AgentStatus, BaseUrl, LocalConfig, StatusBoard};
use nfrx_asr::agent::{AsrConfig, asr_agent_specs};
use nfrx_docling::agent::{DoclingConfig, docling_agent_specs};
use nfrx_llm::agent::{LlmConfig, llm_agent_specs};
use nfrx_sim::{SimConfig, SimHandle};
use nfrx_spi::{PluginOptions, Secret};
use nfrx_tunnel::{Connect, LinkError};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::{Backend, Carrier, Dialer, Entrance, WORKER_KEY, patiently};
use crate::pipe::{PipeControl, PipeOptions};

/// What kind of backend an agent fronts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A language model runtime.
    Llm,
    /// A speech recogniser.
    Asr,
    /// A document converter.
    Docling,
}

/// What an agent is to be.
#[derive(Debug, Clone)]
pub struct AgentPlan {
    /// What it fronts.
    pub kind: Kind,
    /// The id to register with.
    pub id: String,
    /// Requests at once.
    pub max_concurrency: u32,
    /// Inputs of one embeddings request that it likes at once; 0 for no wish.
    pub embedding_batch_size: u32,
    /// Options of its kind beside, by their ids.
    pub options: BTreeMap<String, String>,
    /// The key it shows the server.
    pub key: Option<String>,
    /// The longest silence of its backend; `None` for no limit.
    pub request_timeout: Option<Duration>,
    /// Whether it dials again.
    pub reconnect: bool,
    /// What its tunnels carry.
    pub carrier: Carrier,
    /// The pipes to the server.
    pub tunnel: PipeOptions,
    /// The pipes to the backend.
    pub pipes: PipeOptions,
    /// How the backend behaves.
    pub sim: SimConfig,
}

impl AgentPlan {
    /// An agent with the right key that dials again, before a quick language model.
    pub fn new(id: &str, max_concurrency: u32) -> Self {
        Self::of(Kind::Llm, id, max_concurrency)
    }

    /// The same before a backend of any kind.
    pub fn of(kind: Kind, id: &str, max_concurrency: u32) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            max_concurrency,
            embedding_batch_size: 0,
            options: BTreeMap::new(),
            key: Some(WORKER_KEY.to_owned()),
            request_timeout: None,
            reconnect: true,
            carrier: Carrier::H2,
            tunnel: PipeOptions::default(),
            pipes: PipeOptions::default(),
            sim: SimConfig::default(),
        }
    }

    /// Starts it; it dials at `entrance`.
    pub fn start(self, entrance: &Entrance) -> TestAgent {
        let backend = Backend::new(self.sim.clone(), self.pipes);
        let dials = Dialer::new(entrance, self.tunnel).carrying(self.carrier);
        let running = self.start_between(Arc::new(dials.clone()), Arc::new(backend.clone()));
        TestAgent { running, backend, dials }
    }

    /// Starts it between a server and a backend of the test's own; of the plan's tunnel,
    /// carrier, pipes and backend nothing counts.
    pub fn start_between(self, server: Arc<dyn Connect>, backend: Arc<dyn Connector>) -> RunningAgent {
        let client = |base: &BaseUrl| {
            BackendClient::with_connector(base.clone(), backend, self.request_timeout).map_err(Into::into)
        };
        let config = AgentConfig {
            server_url: format!("ws://localhost/api/{}/connect", self.kind.plugin()),
            client_key: self.key.map(Secret::new),
            worker_id: self.id.clone(),
            worker_name: self.id,
            max_concurrency: self.max_concurrency,
            request_timeout: self.request_timeout,
            drain_timeout: None,
            reconnect: self.reconnect,
            local: LocalConfig::default(),
        };
        let batch = [("embedding_batch_size".to_owned(), self.embedding_batch_size.to_string())];
        let options = batch.into_iter().chain(self.options).collect();
        let agent = self.kind.agent(config, options, client).expect("a valid address");
        RunningAgent::run(agent.with_connect(server))
    }

    /// Starts it and waits until it is connected.
    pub async fn join(self, entrance: &Entrance) -> TestAgent {
        let agent = self.start(entrance);
        agent.connected().await;
        agent
    }
}

impl Kind {
    /// The id of the plugin that takes its workers.
    pub fn plugin(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Asr => "asr",
            Self::Docling => "docling",
        }
    }

    /// An agent with these options of its kind, of which others know some not.
    fn agent(
        self,
        config: AgentConfig,
        given: BTreeMap<String, String>,
        client: impl FnOnce(&BaseUrl) -> Result<BackendClient, AgentError>,
    ) -> Result<Agent, AgentError> {
        let options = |specs| PluginOptions::new(specs, given);
        match self {
            Self::Llm => {
                let llm = LlmConfig::from_options(&options(llm_agent_specs())).expect("valid options");
                nfrx_llm::agent::agent_with(config, &llm, client(&llm.base)?)
            }
            Self::Asr => {
                let asr = AsrConfig::from_options(&options(asr_agent_specs())).expect("defaults are valid");
                nfrx_asr::agent::agent_with(config, &asr, client(&asr.base)?)
            }
            Self::Docling => {
                let docling = DoclingConfig::from_options(&options(docling_agent_specs()));
                let docling = docling.expect("defaults are valid");
                nfrx_docling::agent::agent_with(config, &docling, client(&docling.base)?)
            }
        }
    }
}

/// A running agent. Dropping it kills it: nothing more is said, its connections end.
pub struct RunningAgent {
    status: StatusBoard,
    stop: oneshot::Sender<()>,
    ran: watch::Receiver<Option<Result<(), String>>>,
    _task: JoinSet<()>,
}

impl RunningAgent {
    fn run(agent: Agent) -> Self {
        let (status, mut task) = (agent.status(), JoinSet::new());
        let ((stop, stopped), (end, ran)) = (oneshot::channel(), watch::channel(None));
        task.spawn(async move {
            let stop = async {
                // An agent whose handle is gone is killed, not stopped.
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let ended: Result<(), LinkError> = agent.run(stop).await;
            end.send_replace(Some(ended.map_err(|error| error.to_string())));
        });
        Self { status, stop, ran, _task: task }
    }

    /// What it knows of itself now.
    pub fn status(&self) -> AgentStatus {
        self.status.watch().borrow().clone()
    }

    /// Waits until it knows of itself what `reached` wants.
    pub async fn until(&self, reached: impl FnMut(&AgentStatus) -> bool) -> AgentStatus {
        let mut watch = self.status.watch();
        patiently(watch.wait_for(reached)).await.expect("the board is ours").clone()
    }

    /// Waits until it has ended by itself and tells how.
    pub async fn ended(&mut self) -> Result<(), String> {
        let ended = patiently(self.ran.wait_for(Option::is_some)).await.expect("the agent does not panic");
        ended.clone().expect("just seen")
    }

    /// Stops it as a signal does; [`ended`](Self::ended) waits for its end.
    pub fn stop(&mut self) {
        let (stop, _) = oneshot::channel();
        // An agent that has ended by itself need not be told.
        let _ = std::mem::replace(&mut self.stop, stop).send(());
    }
}

/// A running agent before a simulated backend. Dropping it kills it.
pub struct TestAgent {
    running: RunningAgent,
    backend: Backend,
    dials: Dialer,
}

impl TestAgent {
    /// What its backend saw.
    pub fn sim(&self) -> &SimHandle {
        self.backend.sim()
    }

    /// Its backend.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The connections it made to the server, in their order; the server is at the right
    /// end. As long as there is one only, the first tunnel stands.
    pub fn tunnels(&self) -> Vec<PipeControl> {
        self.dials.made()
    }

    /// The connection made last.
    pub fn tunnel(&self) -> PipeControl {
        self.tunnels().pop().expect("the agent has dialed")
    }

    /// Waits until it knows of itself what `reached` wants.
    pub async fn until(&self, reached: impl FnMut(&AgentStatus) -> bool) -> AgentStatus {
        self.running.until(reached).await
    }

    /// Waits until the tunnel stands.
    pub async fn connected(&self) {
        self.until(|status| status.connected_to_server).await;
    }

    /// Waits until it has ended by itself and tells how.
    pub async fn ended(&mut self) -> Result<(), String> {
        self.running.ended().await
    }

    /// Stops it as a signal does and waits for its end.
    pub async fn stop(mut self) -> Result<(), String> {
        self.running.stop();
        self.ended().await
    }

    /// Kills it.
    pub fn kill(self) {}
}
