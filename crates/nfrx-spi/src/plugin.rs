//! A plugin, what it is built from, and what it is handed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{
    BoxFuture, MetricsError, MetricsRegistry, OptionError, Options, PluginDescriptor, PluginOptions, Router,
    Shared, StateRegistry, WorkerProvider,
};

/// One kind of service the relay offers, such as chat or MCP.
///
/// The server builds a plugin through its [`PluginFactory`], then calls each
/// `register_*` once, in the order below, before any port is open; `start` follows
/// when all plugins are registered. A plugin opens no socket and owns no task of its
/// own: it is handed what it needs in its [`PluginContext`].
///
/// All methods are called from the task that runs the server, one after the other, so
/// none of them may block. A panic in one of them ends the server's start or stop.
pub trait Plugin: Send + Sync + 'static {
    /// Names this plugin in URLs, metrics and settings: lower case letters, digits, `-`
    /// and `_`, never reused. The same as in its [`PluginDescriptor`].
    fn id(&self) -> &'static str;

    /// What the plugin says of itself: the same as its [`PluginFactory`] says, which is asked
    /// before there is a plugin. Where the two differ the start stops.
    fn descriptor(&self) -> PluginDescriptor;

    /// Adds everything served under `/api/{id}`, and what it mounts elsewhere. A pattern
    /// that can't be read, or that is served already, stops the start.
    fn register_routes(&self, router: &mut Router);

    /// Adds this plugin's metrics. Registers none by default. An error stops the start and
    /// is told with the plugin's id, also when it is the registry's and dropped here.
    fn register_metrics(&self, _metrics: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        Ok(())
    }

    /// Adds this plugin's part of the state API. Registers none by default. An id that is
    /// taken stops the start.
    fn register_state(&self, _state: &mut dyn StateRegistry) {}

    /// The plugin's workers, if it has some that stand in for one another; `None` by default.
    /// With them the server serves `GET /api/{id}/ready/{label}`.
    fn workers(&self) -> Option<&dyn WorkerProvider> {
        None
    }

    /// Called once, when every plugin is registered and the ports are bound, before
    /// anybody is served: the place to spawn tasks. Does nothing by default.
    fn start(&self) {}

    /// Called once, when the drain begins: tell workers to go elsewhere. New requests are
    /// refused by the server from then on, with 503; those that run go on. Does nothing by
    /// default.
    fn drain(&self) {}

    /// Called once, after the last request has ended or the drain timeout is over, for all
    /// plugins at the same time. Everything the plugin still holds open should be closed,
    /// with a reason, when the future completes. The server waits 5 seconds for all of
    /// them, half a second after a second signal, and leaves behind what takes longer.
    /// Does nothing by default.
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// How the binary lists a plugin that may be switched on: what it says of itself, and
/// how it is built once its options are known.
pub trait PluginFactory: Send + Sync + 'static {
    /// What the plugin says of itself; the same at each call. Called for every plugin that
    /// the binary has, also for those that are switched off.
    fn descriptor(&self) -> PluginDescriptor;

    /// Whether it is built whatever `PLUGINS` says, because an option of its own switches it
    /// (decision 15). No by default.
    fn is_always_built(&self) -> bool {
        false
    }

    /// Builds it: once, if it is switched on, inside the server's runtime and in the order
    /// of the binary's list. Option values have the types of their specs by then; an error
    /// is for a value of the right type that makes no sense
    /// ([`PluginOptions::refuse`](crate::PluginOptions::refuse)), and stops the start.
    fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError>;
}

/// What a plugin is handed when it is built.
#[derive(Clone)]
pub struct PluginContext {
    /// The server's settings that concern plugins.
    pub options: Arc<Options>,
    /// The plugin's own options.
    pub plugin_options: PluginOptions,
    /// Owns the tasks that the plugin starts.
    pub spawner: Arc<dyn Spawner>,
    /// The server's state, as this plugin sees and sets it.
    pub state: Arc<dyn ServerState>,
    /// Time; a test's own where a test runs the plugin.
    pub clock: Arc<dyn Clock>,
    /// What was built, for state and metrics.
    pub build: BuildInfo,
    /// What all plugins of the process have in common.
    pub shared: Shared,
}

/// Owns the tasks of a process: it waits for them at the end and cuts those that are
/// left when the grace is over (5 seconds after connections are closed). Dropped tasks
/// must free what they hold.
///
/// Implemented by the server; called by plugins and tunnels, from any task inside the
/// server's runtime.
pub trait Spawner: Send + Sync + 'static {
    /// Starts a task. `name` is constant and appears in the log if the task is cut. A task
    /// that runs for long should end by itself when [`ServerState::draining`] completes.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);
}

/// Whether the server is about to end, and how the plugin that holds this is.
///
/// Implemented by the server, one for each plugin; called from any task. Nothing blocks.
pub trait ServerState: Send + Sync + 'static {
    /// Whether the drain has begun: new requests are refused.
    fn is_draining(&self) -> bool;

    /// Completes when the drain begins; at once when it has begun.
    fn draining(&self) -> BoxFuture<'static, ()>;

    /// Says how the calling plugin is, for `/api/state` and the dashboard; the last word
    /// counts. Each plugin has a status of its own (KD-27). A pool says it by itself.
    fn set_status(&self, status: PluginStatus);
}

/// How a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PluginStatus {
    /// It can serve.
    Ready,
    /// It can't serve now, such as without a ready worker.
    #[default]
    NotReady,
    /// It takes nothing new.
    Draining,
}

impl PluginStatus {
    /// The text in `server.state` (metrics contract §3.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not_ready",
            Self::Draining => "draining",
        }
    }
}

/// A moment on the process's own clock, which only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(Duration);

impl Moment {
    /// A moment by its distance from the start of the clock.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time from `earlier` to this moment; zero if that lies in the future.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }
}

/// Time, so that tests can bring their own. Called from any task.
pub trait Clock: Send + Sync + 'static {
    /// Now, for spans.
    fn now(&self) -> Moment;

    /// Now, for people.
    fn wall(&self) -> SystemTime;

    /// Completes when `span` has passed. Dropping it is giving up waiting.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
}

/// What was built: shown by `--version`, in the state API and in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version, `dev` when unknown.
    pub version: &'static str,
    /// The commit, `unknown` when unknown.
    pub sha: &'static str,
    /// The date of the build, `unknown` when unknown.
    pub date: &'static str,
}
