//! An agent from its first probe to its last request.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nfrx_runtime::{Drain, build_info};
use nfrx_spi::Heartbeat;
use nfrx_tunnel::legacy::LegacyLink;
use nfrx_tunnel::{
    AgentService, Connect, DialError, Identity, LinkConfig, LinkError, LinkParts, LinkState, Offer,
    ServerUrl, TcpConnect, keep_connected_or,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use crate::client::{BackendClient, ClientError};
use crate::hold::Hold;
use crate::local::{Local, Order, Served};
use crate::probe::Prober;
use crate::{
    AgentConfig, AllowList, Backend, BackendKey, BackendProxy, Ceiling, HostMonitor, ListenError, ProxyParts,
    StatusBoard, host_facts,
};

/// The longest probe (worker protocol §9.2).
const PROBE_MAX: Duration = Duration::from_secs(10);

/// What an agent is made of, besides its configuration.
pub struct AgentParts {
    /// Speaks to the backend.
    pub client: BackendClient,
    /// The backend's key, if it wants one.
    pub key: Option<BackendKey>,
    /// Asks the backend what it has.
    pub backend: Arc<dyn Backend>,
    /// What may pass.
    pub allowed: AllowList,
    /// The time between a good probe and the next.
    pub poll_interval: Duration,
}

/// Why an agent could not be made of its options.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The server's address can't be used.
    #[error(transparent)]
    Server(#[from] DialError),
    /// The backend's address can't be used.
    #[error("the backend's address can't be used")]
    Backend(#[from] ClientError),
}

/// What stands behind the tunnel of an agent that brings its own.
pub struct ServiceParts {
    /// Answers the requests.
    pub service: Arc<dyn AgentService>,
    /// What is offered; changes are sent as they come.
    pub offers: watch::Receiver<Offer>,
    /// What is spoken with servers that know no newer carrier, if that is not v1.
    pub legacy: Option<Arc<dyn LegacyLink>>,
}

/// Starts a service: its tasks are spawned through the drain, which cuts them at the end,
/// and it notes on the board what its operator should know.
pub type StartService = Box<dyn FnOnce(&Drain, &StatusBoard) -> ServiceParts + Send>;

/// What an agent fronts.
enum Front {
    Backend(AgentParts),
    Service(StartService),
}

/// One agent in front of one backend.
pub struct Agent {
    config: AgentConfig,
    front: Front,
    url: ServerUrl,
    connect: Arc<dyn Connect>,
    status: StatusBoard,
    local: Local,
}

impl Agent {
    /// Nothing is probed or dialed before [`Agent::run`].
    pub fn new(config: AgentConfig, parts: AgentParts) -> Result<Self, DialError> {
        Self::with_front(config, Front::Backend(parts))
    }

    /// An agent whose service is not a proxy before one HTTP backend, and which says by
    /// itself what it offers.
    pub fn of_service(config: AgentConfig, start: StartService) -> Result<Self, DialError> {
        Self::with_front(config, Front::Service(start))
    }

    fn with_front(config: AgentConfig, front: Front) -> Result<Self, DialError> {
        let url = ServerUrl::parse(&config.server_url)?;
        let connect = Arc::new(TcpConnect::new(&url)?);
        let status = StatusBoard::new();
        status.update(|status| {
            status.worker_id.clone_from(&config.worker_id);
            status.worker_name.clone_from(&config.worker_name);
            build_info().version.clone_into(&mut status.version);
        });
        Ok(Self { config, front, url, connect, status, local: Local::default() })
    }

    /// Dials by other means, as tests do.
    pub fn with_connect(mut self, connect: Arc<dyn Connect>) -> Self {
        self.connect = connect;
        self
    }

    /// What the agent knows of itself, before and while it runs.
    pub fn status(&self) -> StatusBoard {
        self.status.clone()
    }

    /// Opens the ports for its operator, where the configuration names any; they are served
    /// while the agent runs.
    pub async fn bind(&mut self) -> Result<(), ListenError> {
        self.local = Local::bind(&self.config.local).await?;
        Ok(())
    }

    /// Where status and control are served, once bound.
    pub fn status_addr(&self) -> Option<SocketAddr> {
        self.local.status_addr()
    }

    /// Where metrics are served, once bound.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.local.metrics_addr()
    }

    /// Probes the backend, keeps the tunnel, answers its requests. After `stop` it takes
    /// nothing new and ends when what runs has ended, or the drain timeout is over. Dropped,
    /// it ends at once, with all that it started.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), LinkError> {
        let drain = Drain::new();
        let _tasks = drain.cut_on_drop();
        let mut local = self.local.serve(&self.status);
        let monitor = HostMonitor::new();
        let heartbeat = Arc::new(noting(monitor.heartbeats(), self.status.clone()));
        drain.spawn("host monitor", monitor.run());
        let mut stop = pin!(stop);
        let started = tokio::select! {
            started = start(self.front, &self.config, &drain, &self.status) => started,
            () = stop.as_mut() => {
                drain.cut();
                drain.finish(None).await;
                return Ok(());
            }
        };
        let (hold, ServiceParts { service, offers, legacy }, carried) = Hold::around(started);
        drain.spawn("offers", carried);
        let (state, states) = watch::channel(LinkState::Connecting);
        drain.spawn("link state", follow(states, self.status.clone()));
        let link = LinkConfig {
            url: self.url,
            connect: self.connect,
            key: self.config.client_key,
            identity: identity(&self.config.worker_id, &self.config.worker_name),
            reconnect: self.config.reconnect,
        };
        let parts = LinkParts { offer: offers, service, heartbeat, drain: drain.watch(), state };
        let mut link = pin!(keep_connected_or(link, parts, legacy));
        let limit = self.config.drain_timeout;
        let mut watcher = Watcher { hold, status: self.status.clone(), limit, deadline: None };
        let result = tokio::select! {
            result = link.as_mut() => result,
            end = watcher.end(stop, &mut local) => {
                self.status.update(|status| status.draining = true);
                drain.begin();
                match end {
                    End::Drain => drained(link, limit).await,
                    End::Cut => Ok(()),
                }
            }
        };
        self.status.update(|status| match &result {
            Ok(()) => status.terminating = true,
            Err(error) => (status.failed, status.last_error) = (true, error.to_string()),
        });
        drain.begin();
        drain.cut();
        drain.finish(None).await;
        local.close().await;
        result
    }
}

/// How an agent is to end.
enum End {
    /// What runs may end within the drain timeout.
    Drain,
    /// It had its time.
    Cut,
}

/// Follows the operator's orders until one of them, or a signal, ends the agent.
struct Watcher {
    hold: Hold,
    status: StatusBoard,
    limit: Option<Duration>,
    deadline: Option<Instant>,
}

impl Watcher {
    async fn end(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>, local: &mut Served) -> End {
        let mut board = self.status.watch();
        loop {
            let late = self.deadline;
            tokio::select! {
                () = stop.as_mut() => return End::Drain,
                order = local.order() => match order {
                    Order::Shutdown => return End::Drain,
                    Order::Drain => self.hold(true),
                    Order::Undrain => self.hold(false),
                },
                _ = board.wait_for(|status| status.current_jobs == 0), if self.hold.is_set() => return End::Drain,
                () = tokio::time::sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {
                    warn!("the drain timeout is over, cutting what still runs");
                    return End::Cut;
                }
            }
        }
    }

    /// A drain has its time from the last order on; without a limit, or with none at all,
    /// it waits for its jobs (worker protocol §9.6).
    fn hold(&mut self, held: bool) {
        self.hold.set(held);
        let limit = self.limit.filter(|limit| held && !limit.is_zero());
        self.deadline = limit.map(|limit| Instant::now() + limit);
        self.status.update(|status| status.draining = held);
    }
}

/// Starts what is fronted. A backend is probed once before: the first registration says
/// what is there, not that nothing is known yet.
async fn start(front: Front, config: &AgentConfig, drain: &Drain, status: &StatusBoard) -> ServiceParts {
    let parts = match front {
        Front::Service(start) => return start(drain, status),
        Front::Backend(parts) => parts,
    };
    let host_facts = host_facts();
    // What is known of the host is told whatever the first probe says.
    let nothing = Offer { agent_config: host_facts.clone(), ..Offer::default() };
    let (offer, offers) = watch::channel(nothing);
    let prober = Prober {
        backend: parts.backend,
        interval: parts.poll_interval,
        timeout: config.request_timeout.map_or(PROBE_MAX, |limit| limit.min(PROBE_MAX)),
        max_concurrency: config.max_concurrency,
        host_facts,
        offer,
        status: status.clone(),
        drain: drain.watch(),
    };
    let ready = prober.once().await;
    drain.spawn("prober", prober.run(ready));
    let proxy = BackendProxy::new(ProxyParts {
        client: parts.client,
        key: parts.key,
        allowed: parts.allowed,
        ceiling: Ceiling::new(config.max_concurrency as usize),
        status: status.clone(),
        drain: drain.watch(),
    });
    ServiceParts { service: Arc::new(proxy), offers, legacy: None }
}

/// Notes when a heartbeat was taken last.
fn noting(
    heartbeat: impl Fn() -> Heartbeat + Send + Sync + 'static,
    status: StatusBoard,
) -> impl Fn() -> Heartbeat + Send + Sync + 'static {
    move || {
        status.update(|status| status.last_heartbeat = Some(SystemTime::now()));
        heartbeat()
    }
}

fn identity(worker_id: &str, worker_name: &str) -> Identity {
    let build = build_info();
    Identity {
        worker_id: worker_id.to_owned(),
        worker_name: worker_name.to_owned(),
        version: build.version.to_owned(),
        build_sha: build.sha.to_owned(),
        build_date: build.date.to_owned(),
    }
}

/// Waits for the link to end by itself; what is left after the limit is cut.
async fn drained(
    link: impl Future<Output = Result<(), LinkError>>,
    limit: Option<Duration>,
) -> Result<(), LinkError> {
    let Some(limit) = limit else { return link.await };
    match tokio::time::timeout(limit, link).await {
        Ok(result) => result,
        Err(_) => {
            warn!(limit_s = limit.as_secs(), "the drain timeout is over, cutting what still runs");
            Ok(())
        }
    }
}

/// Writes how the link is on the status board.
async fn follow(mut states: watch::Receiver<LinkState>, status: StatusBoard) {
    loop {
        let state = states.borrow_and_update().clone();
        if let LinkState::Waiting { reason, .. } = &state {
            status.link_failures().with([reason]).inc();
        }
        status.update(|status| {
            status.connecting = state == LinkState::Connecting;
            status.connected_to_server = matches!(state, LinkState::Connected { .. });
            match state {
                LinkState::Connected { worker_id } => status.worker_id = worker_id,
                LinkState::Waiting { error, .. } => status.last_error = error,
                LinkState::Connecting => {}
            }
        });
        if states.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use nfrx_spi::metrics::{Instrument as _, SampleValue};
    use nfrx_tunnel::LinkError;

    use super::*;

    #[tokio::test]
    async fn each_time_without_a_tunnel_is_counted_by_its_reason() {
        let (links, states) = watch::channel(LinkState::Connecting);
        let status = StatusBoard::default();
        let mut told = status.watch();
        let link = async {
            for reason in LinkError::REASONS.into_iter().chain(["flood"]) {
                links.send_replace(LinkState::Connecting);
                told.wait_for(|status| status.connecting).await.expect("it is there");
                links.send_replace(LinkState::Waiting { error: String::new(), reason });
                told.wait_for(|status| !status.connecting).await.expect("it is there");
            }
            drop(links);
        };
        tokio::join!(link, follow(states, status.clone()));
        // Seen to fail: without the count.
        for reason in LinkError::REASONS {
            let expected = if reason == "flood" { 2.0 } else { 1.0 };
            let counted = status.link_failures().with([reason]).value();
            assert_eq!(counted, SampleValue::Number(expected), "{reason}");
        }
    }
}
