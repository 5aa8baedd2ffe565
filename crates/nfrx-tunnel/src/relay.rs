//! The server's end: takes an agent's upgrade, speaks as the HTTP/2 client.

mod accept;
mod control;
mod owner;
mod pump;
pub(crate) mod stream;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, Response};
use nfrx_spi::{
    Body, BoxFuture, CallError, Clock, CloseReason, HandlerResult, Moment, Operation, Options, PluginContext,
    RequestContext, Revocation, Shared, Spawner, Tunnel, WorkerIntake,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::budget::{ByteBudget, UnsentBytes};
use crate::counters::TunnelCounters;
use crate::legacy::{Legacy, LegacyCarrier};
pub(crate) use control::name as close_name;
use pump::Call;

/// Calls that may wait for the tunnel's task to look.
pub(crate) const INBOX: usize = 64;

/// How tunnels behave.
#[derive(Debug, Clone)]
pub struct TunnelSettings {
    /// How often agents show that they live, and are asked.
    pub heartbeat: Duration,
    /// After how much silence a tunnel is taken for lost.
    pub expiry: Duration,
    /// How long an agent may take to register.
    pub register_max: Duration,
    /// How long a reader may take nothing while there is something for it.
    pub stall_max: Duration,
    /// Bytes of answers that may be unread over all tunnels of the process; a stream that
    /// would go over it is reset. As many bytes of requests may be gathered for tunnels of
    /// protocol v1.
    pub unread_bytes_max: usize,
}

impl Default for TunnelSettings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            expiry: Duration::from_secs(15),
            register_max: Duration::from_secs(10),
            stall_max: Duration::from_secs(30),
            unread_bytes_max: 256 * 1024 * 1024,
        }
    }
}

impl TunnelSettings {
    /// The server's settings, where they say anything.
    pub fn from_options(options: &Options) -> Self {
        let or = |set: Duration, default| if set.is_zero() { default } else { set };
        let default = Self::default();
        Self {
            heartbeat: or(options.agent_heartbeat_interval, default.heartbeat),
            expiry: or(options.agent_heartbeat_expiry, default.expiry),
            ..default
        }
    }
}

/// Takes the upgrades of agents and brings their workers to a plugin.
pub struct Acceptor {
    parts: Arc<Parts>,
}

/// What all tunnels of a plugin share.
pub(crate) struct Parts {
    pub(crate) settings: TunnelSettings,
    pub(crate) intake: Arc<dyn WorkerIntake>,
    spawner: Arc<dyn Spawner>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<TunnelCounters>,
    /// Of answers that nobody has read yet.
    pub(crate) unread: Arc<ByteBudget>,
    /// Of requests that v1 gathers before they leave.
    pub(crate) unsent: Arc<UnsentBytes>,
    /// What old agents of the plugin speak instead of v1.
    pub(crate) legacy: Legacy<dyn LegacyCarrier>,
}

impl Acceptor {
    /// For the workers of the plugin that was handed `context`, which owns the tunnels'
    /// tasks.
    pub fn for_plugin(context: &PluginContext, intake: Arc<dyn WorkerIntake>) -> Self {
        let settings = TunnelSettings::from_options(&context.options);
        let (spawner, clock) = (Arc::clone(&context.spawner), Arc::clone(&context.clock));
        Self::new(settings, intake, spawner, clock, &context.shared)
    }

    /// The same by its parts; `spawner` owns the tunnels' tasks. Counters and bytes that are
    /// held are those of all acceptors of the process.
    pub fn new(
        settings: TunnelSettings,
        intake: Arc<dyn WorkerIntake>,
        spawner: Arc<dyn Spawner>,
        clock: Arc<dyn Clock>,
        shared: &Shared,
    ) -> Self {
        let (counters, unread) = (shared.get(), shared.get());
        let unsent = shared.get();
        let parts = Parts { settings, intake, spawner, clock, counters, unread, unsent, legacy: None };
        Self { parts: Arc::new(parts) }
    }

    /// The same for a plugin whose old agents speak what `legacy` serves, and not v1.
    pub fn with_legacy(self, legacy: Arc<dyn LegacyCarrier>) -> Self {
        let Parts { settings, intake, spawner, clock, counters, unread, unsent, .. } = &*self.parts;
        let parts = Parts {
            settings: settings.clone(),
            intake: Arc::clone(intake),
            spawner: Arc::clone(spawner),
            clock: Arc::clone(clock),
            counters: Arc::clone(counters),
            unread: Arc::clone(unread),
            unsent: Arc::clone(unsent),
            legacy: Some(legacy),
        };
        Self { parts: Arc::new(parts) }
    }

    /// What happens to the tunnels, for metrics.
    pub fn counters(&self) -> Arc<TunnelCounters> {
        Arc::clone(&self.parts.counters)
    }

    /// Answers an agent's upgrade request (worker protocol §1) and, with a 101, starts the
    /// tunnel. Who may ask is the route's matter.
    pub fn upgrade(&self, request: Request<Body>, context: RequestContext) -> HandlerResult {
        accept::upgrade(&self.parts, request, context)
    }

    /// What the API's document says of a route that does that.
    pub fn operation() -> Operation {
        Operation { summary: "Connects an agent", upgrades: true, ..Operation::default() }
    }
}

/// A tunnel as the pool sees it.
struct Handle {
    /// Boxed: a channel has room for 32 from the start, which every idle tunnel would pay for.
    inbox: mpsc::Sender<Box<Call>>,
    orders: watch::Sender<Orders>,
    pulse: Arc<Pulse>,
}

/// Watches the key that an agent came in with.
pub(crate) struct KeyWatch(Option<Revocation>);

impl KeyWatch {
    /// Without a revocation the key stays good.
    pub(crate) fn new(revocation: Option<Revocation>) -> Self {
        Self(revocation)
    }

    /// Orders the end of the tunnel once its key is revoked. Never completes: the tunnel
    /// ends as for any other order.
    pub(crate) async fn close(self, tunnel: Weak<impl Tunnel>) -> Infallible {
        self.revoked().await;
        if let Some(tunnel) = tunnel.upgrade() {
            tunnel.close(CloseReason::Unauthorized);
        }
        std::future::pending().await
    }

    /// Completes when the key is revoked.
    pub(crate) async fn revoked(self) {
        match self.0 {
            Some(revocation) => revocation.happened().await,
            None => std::future::pending().await,
        }
    }
}

/// Fails the calls that still come to a tunnel that is over.
///
/// Dropping the inbox is not enough: a caller that was given its place just before puts its
/// call there just after, where nobody looks, and would wait for an answer for ever.
pub(crate) async fn refuse_rest<T>(mut inbox: mpsc::Receiver<T>) {
    inbox.close();
    while inbox.recv().await.is_some() {}
}

/// What the tunnel's task was told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Orders {
    pub(crate) drain: bool,
    pub(crate) close: Option<CloseReason>,
}

/// Signs of life. Times in microseconds of the clock; zero for none.
pub(crate) struct Pulse {
    clock: Arc<dyn Clock>,
    seen: AtomicU64,
    round_trip: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let pulse = Self { clock, seen: AtomicU64::new(0), round_trip: AtomicU64::new(0) };
        pulse.beat();
        pulse
    }

    /// Something came.
    pub(crate) fn beat(&self) {
        let now = self.clock.now().since(Moment::default());
        self.seen.store(now.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn seen(&self) -> Moment {
        Moment::from_start(Duration::from_micros(self.seen.load(Ordering::Relaxed)))
    }

    pub(crate) fn silence(&self) -> Duration {
        self.clock.now().since(self.seen())
    }
}

impl Tunnel for Handle {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let inbox = self.inbox.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            inbox.send(Box::new(Call { request, answer })).await.map_err(|_| CallError::Lost)?;
            answered.await.unwrap_or(Err(CallError::Lost))
        })
    }

    fn last_seen(&self) -> Moment {
        self.pulse.seen()
    }

    fn round_trip(&self) -> Option<Duration> {
        let micros = self.pulse.round_trip.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    fn carrier(&self) -> &'static str {
        crate::SUBPROTOCOL
    }

    fn drain(&self) {
        self.orders.send_modify(|orders| orders.drain = true);
    }

    fn close(&self, reason: CloseReason) {
        self.orders.send_modify(|orders| orders.close = orders.close.or(Some(reason)));
    }
}
