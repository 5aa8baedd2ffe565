//! What a pool needs around it, and does not use here.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use nfrx_pool::{AliasScorer, PoolConfig, RequestMetrics, Takeover};
use nfrx_runtime::TokioClock;
use nfrx_spi::{
    Body, BoxFuture, BuildInfo, CallError, CloseReason, Moment, PluginStatus, ServerState, Tunnel,
};

/// A pool's settings.
pub(super) fn config() -> PoolConfig {
    PoolConfig {
        plugin: "llm",
        scorer: Arc::new(AliasScorer),
        min_score: 0.01,
        queue_max: 1,
        workers_max: 1,
        takeover: Takeover::Resume,
        clock: Arc::new(TokioClock::new()),
        state: Arc::new(Nowhere),
        build: BuildInfo { version: "", sha: "", date: "" },
        metrics: Arc::new(RequestMetrics::default()),
        observers: Vec::new(),
    }
}

/// A tunnel that leads nowhere, and a server that does not listen.
pub(super) struct Nowhere;

impl Tunnel for Nowhere {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Lost)))
    }

    fn last_seen(&self) -> Moment {
        Moment::default()
    }

    fn round_trip(&self) -> Option<Duration> {
        None
    }

    fn carrier(&self) -> &'static str {
        "v1"
    }

    fn drain(&self) {}

    fn close(&self, _: CloseReason) {}
}

impl ServerState for Nowhere {
    fn is_draining(&self) -> bool {
        false
    }

    fn draining(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn set_status(&self, _: PluginStatus) {}
}
