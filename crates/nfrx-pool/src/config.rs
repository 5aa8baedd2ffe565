//! What a pool is built from.

use std::fmt;
use std::sync::Arc;

use nfrx_spi::{BuildInfo, Clock, Metrics, PluginContext, Scorer, ServerState};

use crate::metrics::RequestMetrics;

/// How many workers of a plugin are taken in: the 10,000 that one server is meant to carry,
/// with room for those that come back before their old connections are missed.
pub const WORKERS_MAX: usize = 16_384;

/// Everything a pool needs to know and be handed.
#[derive(Clone)]
pub struct PoolConfig {
    /// The plugin's id, which is also its value of the metric label `ext`.
    pub plugin: &'static str,
    /// Says how well offered labels suit wanted ones.
    pub scorer: Arc<dyn Scorer>,
    /// Scores under this are no match (default 0.01).
    pub min_score: f64,
    /// How many requests may wait for a slot; 0 for none (default 100).
    pub queue_max: usize,
    /// How many workers may be connected (default [`WORKERS_MAX`]); more are refused.
    pub workers_max: usize,
    /// Who may take over a worker id that is in use.
    pub takeover: Takeover,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Is told whether the plugin has a ready worker.
    pub state: Arc<dyn ServerState>,
    /// Shown in the state API.
    pub build: BuildInfo,
    /// Counts requests; one for all pools of a process, since they share names.
    pub metrics: Arc<RequestMetrics>,
    /// Count along, for series that only this plugin has.
    pub observers: Vec<Arc<dyn Metrics>>,
}

/// Who may take over a worker id that is in use (decision 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Takeover {
    /// A newcomer that shows the token of the connection it continues; where the protocol
    /// has no token (v1), one that uses the same key.
    #[default]
    Resume,
    /// Nobody.
    Refuse,
}

impl PoolConfig {
    /// The defaults, with what only the plugin knows.
    pub fn new(
        plugin: &'static str,
        scorer: impl Scorer,
        context: &PluginContext,
        metrics: Arc<RequestMetrics>,
    ) -> Self {
        Self {
            plugin,
            scorer: Arc::new(scorer),
            min_score: 0.01,
            queue_max: 100,
            workers_max: WORKERS_MAX,
            takeover: Takeover::default(),
            clock: Arc::clone(&context.clock),
            state: Arc::clone(&context.state),
            build: context.build,
            metrics,
            observers: Vec::new(),
        }
    }
}

impl fmt::Debug for PoolConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolConfig")
            .field("plugin", &self.plugin)
            .field("min_score", &self.min_score)
            .field("queue_max", &self.queue_max)
            .field("workers_max", &self.workers_max)
            .field("takeover", &self.takeover)
            .finish_non_exhaustive()
    }
}
