//! The agent half: dials the server, and captions the pictures that come through the
//! tunnel.
//!
//! It does the work itself, so there is no backend to probe and no HTTP to forward: what it
//! offers never changes, and [`CaptionService`] answers the tunnel's requests.

mod measure;
mod options;
mod ppm;
mod service;
mod words;

use std::pin::pin;
use std::sync::Arc;

use nfrx_agent::{AgentConfig, host_facts};
use nfrx_runtime::{Drain, build_info};
use nfrx_spi::{Heartbeat, WorkerStatus};
use nfrx_tunnel::{
    Connect, DialError, Identity, LinkConfig, LinkError, LinkParts, LinkState, Offer, ServerUrl, TcpConnect,
    keep_connected,
};
use tokio::sync::watch;

pub use measure::{Colour, Measures};
pub use options::{CaptionConfig, agent_options};
pub use ppm::{Decoder, PpmError};
pub use service::CaptionService;
pub use words::Style;

/// One agent. Dropping its [`run`](Self::run) kills it.
pub struct CaptionAgent {
    common: AgentConfig,
    own: CaptionConfig,
    url: ServerUrl,
    connect: Arc<dyn Connect>,
    state: watch::Sender<LinkState>,
}

impl CaptionAgent {
    /// Nothing is dialed before [`run`](Self::run).
    pub fn new(common: AgentConfig, own: CaptionConfig) -> Result<Self, DialError> {
        let url = ServerUrl::parse(&common.server_url)?;
        let connect = Arc::new(TcpConnect::new(&url)?);
        Ok(Self { common, own, url, connect, state: watch::Sender::new(LinkState::Connecting) })
    }

    /// Dials by other means, as tests do.
    pub fn with_connect(mut self, connect: Arc<dyn Connect>) -> Self {
        self.connect = connect;
        self
    }

    /// How the link is.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Keeps the tunnel and answers its requests. After `stop` it takes nothing new and
    /// ends when what runs has ended, or the drain timeout is over.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), LinkError> {
        let drain = Drain::new();
        // Held to the end: an offer that nobody can change any more ends the link.
        let (_offer, offers) = watch::channel(self.offer());
        let timeout = self.common.drain_timeout;
        let parts = LinkParts {
            offer: offers,
            service: Arc::new(self.service()),
            heartbeat: Arc::new(Heartbeat::default),
            drain: drain.watch(),
            state: self.state.clone(),
        };
        let mut link = pin!(keep_connected(self.link(), parts));
        tokio::select! {
            ended = link.as_mut() => return ended,
            () = stop => drain.begin(),
        }
        match timeout {
            Some(limit) => tokio::time::timeout(limit, link).await.unwrap_or(Ok(())),
            None => link.await,
        }
    }

    fn service(&self) -> CaptionService {
        // There is no backend that could be silent: what is waited for is the request.
        CaptionService::new(&self.own.styles, self.common.max_concurrency, self.common.request_timeout)
    }

    /// What the pool picks us by: a label for each style, and how much we take.
    fn offer(&self) -> Offer {
        let mut agent_config = host_facts();
        // From here the pool takes the preferred batch of any kind of work.
        agent_config.insert("embedding_batch_size".to_owned(), self.own.batch_size.to_string());
        Offer {
            models: self.own.styles.iter().map(|style| style.label().to_owned()).collect(),
            max_concurrency: self.common.max_concurrency,
            status: WorkerStatus::Idle,
            agent_config,
        }
    }

    fn link(self) -> LinkConfig {
        let build = build_info();
        LinkConfig {
            url: self.url,
            connect: self.connect,
            key: self.common.client_key,
            identity: Identity {
                worker_id: self.common.worker_id,
                worker_name: self.common.worker_name,
                version: build.version.to_owned(),
                build_sha: build.sha.to_owned(),
                build_date: build.date.to_owned(),
            },
            reconnect: self.common.reconnect,
        }
    }
}
