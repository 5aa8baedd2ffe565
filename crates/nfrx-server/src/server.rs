//! A server from its start to its end.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use nfrx_runtime::Drain;
use nfrx_runtime::metrics_text::Registry;
use nfrx_spi::{MetricsRegistry as _, PluginFactory, Route};
use tokio::net::{TcpListener, TcpSocket};
use tracing::{info, warn};

use crate::config::ServerConfig;
use crate::door::{Bounds, Door, accept};
use crate::error::StartError;
use crate::front::{Front, Shared};
use crate::gate::Gate;
use crate::host::Host;
use crate::routes::Table;
use crate::system::{Mounted, System, documentation};
use crate::telemetry::Telemetry;
use crate::traces::Tracer;

/// How often files of keys are looked at.
const KEYS_EVERY: Duration = Duration::from_secs(2);
/// How long plugins, connections and tasks may each take to close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// The same for plugins after the second signal: time to say goodbye, no more.
const CUT_TIME_MAX: Duration = Duration::from_millis(500);
/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`). Beyond
/// them it drops what dials, which then tries again a second later, and thousands of agents dial
/// at once when a server is back.
const BACKLOG: u32 = 4096;

/// A server whose plugins are built and whose ports are open, and which serves nobody
/// yet.
pub struct Server {
    host: Arc<Host>,
    shared: Arc<Shared>,
    listeners: Vec<(TcpListener, Door)>,
    door: Door,
    /// Everything that is no connection: plugins' tasks and our own.
    tasks: Drain,
    /// Connections and their streams.
    doors: Drain,
    drain_timeout: Option<Duration>,
    has_key_files: bool,
    served: Vec<(Method, String)>,
}

impl Server {
    /// Builds the plugins, compiles their routes, and opens the ports. Plugins are
    /// started when this returns.
    pub async fn bind(
        config: ServerConfig,
        factories: Vec<Box<dyn PluginFactory>>,
    ) -> Result<Self, StartError> {
        let (mut server, metrics_door) = Self::assemble(&config, &factories)?;
        let listener = listen(config.listen)?;
        let door = server.door.clone();
        server.listeners.push((listener, door));
        if let (Some(addr), Some(door)) = (config.metrics, metrics_door) {
            // A metrics listener that can't be had stops the start (KD-55).
            server.listeners.push((listen(addr)?, door));
        }
        server.host.start();
        Ok(server)
    }

    /// The same without ports: connections come from [`Server::door`] alone.
    pub fn in_memory(
        config: ServerConfig,
        factories: Vec<Box<dyn PluginFactory>>,
    ) -> Result<Self, StartError> {
        let (server, _) = Self::assemble(&config, &factories)?;
        server.host.start();
        Ok(server)
    }

    /// Builds the plugins and compiles their routes, and lets go of them again: whether a
    /// server could be bound, ports aside.
    pub fn check(config: &ServerConfig, factories: &[Box<dyn PluginFactory>]) -> Result<(), StartError> {
        Self::assemble(config, factories).map(drop)
    }

    fn assemble(
        config: &ServerConfig,
        factories: &[Box<dyn PluginFactory>],
    ) -> Result<(Self, Option<Door>), StartError> {
        let (tasks, doors) = (Drain::new(), Drain::new());
        let mut registry = Registry::default();
        let of_server = |source| StartError::Metrics { plugin: "", source };
        let telemetry = Arc::new(Telemetry::new(&mut registry, config.build).map_err(of_server)?);
        let gate = Gate::new(&config.login, config.limits.tunnels_per_key_max)?;
        registry.register(gate.tunnels()).map_err(of_server)?;
        let host = Arc::new(Host::build(config, factories, &tasks)?);
        let mut registered = host.register(&mut registry)?;
        let tracer = config.traces.as_ref().map(|traces| {
            let dropped = telemetry.spans_dropped.with([]);
            Tracer::start(traces, config.build, dropped, &tasks, doors.watch())
        });
        let shared = Arc::new(Shared::new(config, gate, Arc::clone(&telemetry), tracer, tasks.watch()));
        let elements = std::mem::take(&mut registered.elements);
        let system = System::new(Arc::clone(&host), Arc::clone(&shared), registry, elements, doors.watch());
        let mounted = if config.metrics.is_some() { Mounted::WithoutMetrics } else { Mounted::All };
        registered.routes.extend(system.routes(mounted, &registered.routes));
        let (version, url) = (config.build.version, config.origin.public_url.as_deref());
        registered.routes.extend(documentation(&registered.routes, version, url));
        let served =
            registered.routes.iter().map(|route| (route.method.clone(), route.pattern.clone())).collect();
        let bounds = Bounds::new(&config.limits, &telemetry);
        let door = |routes: Vec<Route>, guards| {
            let front = Arc::new(Front::new(Table::new(routes, guards)?, Arc::clone(&shared)));
            let (bounds, telemetry) = (Arc::clone(&bounds), Arc::clone(&telemetry));
            Ok(Door::new(front, bounds, config.limits.clone(), doors.clone(), telemetry))
        };
        let main = door(registered.routes, registered.guards)?;
        let metrics = match config.metrics {
            Some(_) => Some(door(system.routes(Mounted::MetricsOnly, &[]), Vec::new())?),
            None => None,
        };
        let server = Self {
            host,
            shared,
            listeners: Vec::new(),
            door: main,
            tasks,
            doors,
            drain_timeout: config.drain_timeout,
            served,
            has_key_files: config.login.api.keys_file.is_some() || config.login.workers.keys_file.is_some(),
        };
        Ok((server, metrics))
    }

    /// Where the server listens; `None` for one in memory.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.listeners.first().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Where metrics are served, when they have a listener of their own.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.listeners.get(1).and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Method and pattern of all routes of the main listener, in the order of the list.
    pub fn served(&self) -> &[(Method, String)] {
        &self.served
    }

    /// The door of the main listener, for connections that come another way.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Serves until `stop`, then drains: new requests are refused, plugins send their
    /// workers elsewhere, and what runs may end within the drain timeout. `cut` ends
    /// the waiting at once. When this returns, or is dropped, everything is closed.
    pub async fn serve(mut self, stop: impl Future<Output = ()>, cut: impl Future<Output = ()>) {
        let _tasks = (self.tasks.cut_on_drop(), self.doors.cut_on_drop());
        for (listener, door) in self.listeners.drain(..) {
            self.tasks.spawn("accept", accept(listener, door, self.doors.watch()));
        }
        self.watch_keys();
        let mut cut = pin!(cut);
        let mut is_cut = tokio::select! {
            () = stop => false,
            () = &mut cut => true,
        };
        self.tasks.begin();
        self.host.drain();
        info!(in_flight = self.shared.in_flight.now(), "draining");
        if !is_cut {
            tokio::select! {
                () = self.drained() => {}
                () = &mut cut => is_cut = true,
            }
        }
        if is_cut {
            warn!(in_flight = self.shared.in_flight.now(), "told again to stop, cutting what is left");
        }
        let (grace, goodbye) =
            if is_cut { (Duration::ZERO, CUT_TIME_MAX) } else { (CLOSE_TIME_MAX, CLOSE_TIME_MAX) };
        let closing = async {
            // Plugins say goodbye to their workers while connections still stand.
            self.host.stop(goodbye).await;
            self.doors.finish(Some(grace)).await;
            self.tasks.finish(Some(grace)).await;
        };
        let mut closing = pin!(closing);
        tokio::select! {
            () = &mut closing => {}
            () = &mut cut, if !is_cut => {
                self.doors.cut();
                self.tasks.cut();
                closing.await;
            }
        }
        info!("stopped");
    }

    /// Completes when nothing is in flight, or the drain has taken too long.
    async fn drained(&self) {
        let none = self.shared.in_flight.none();
        let Some(timeout) = self.drain_timeout else { return none.await };
        if tokio::time::timeout(timeout, none).await.is_err() {
            warn!(in_flight = self.shared.in_flight.now(), "the drain timeout is over");
        }
    }

    fn watch_keys(&self) {
        if !self.has_key_files {
            return;
        }
        let (shared, watch) = (Arc::clone(&self.shared), self.tasks.watch());
        self.tasks.spawn("keys", async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(KEYS_EVERY) => shared.gate.reload(),
                    () = watch.draining() => return,
                }
            }
        });
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port whose last connections are still winding down is free for the next server.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| StartError::Listen { addr, source })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    // Seen to fail with a backlog of 1024, the default: the dial after it never ended.
    #[tokio::test]
    async fn a_burst_of_dials_waits_to_be_accepted() -> Result<(), Box<dyn std::error::Error>> {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let allowed = allowed.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(128);
        let listener = listen(([127, 0, 0, 1], 0).into())?;
        for nth in 1..=BACKLOG.min(allowed) {
            // Left at once: the system keeps it in line, and the test few files.
            let dial = TcpStream::connect(listener.local_addr()?);
            let dialed = tokio::time::timeout(Duration::from_secs(60), dial).await;
            drop(dialed.map_err(|_| format!("dial {nth} waits"))??);
        }
        Ok(())
    }
}
