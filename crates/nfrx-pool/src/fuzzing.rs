//! What stands around a pool that is measured or fuzzed, and does nothing: for those programs
//! and for nobody else.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use nfrx_spi::{
    Body, BoxFuture, BuildInfo, CallError, Clock, CloseReason, Moment, PluginStatus, ServerState, Tunnel,
};

use crate::{AliasScorer, PoolConfig, Takeover};

/// The settings of a pool for so many workers and so many who wait.
pub fn config(workers_max: usize, queue_max: usize) -> PoolConfig {
    PoolConfig {
        plugin: "llm",
        scorer: Arc::new(AliasScorer),
        min_score: 0.01,
        queue_max,
        workers_max,
        takeover: Takeover::Refuse,
        clock: Arc::new(Idle),
        state: Arc::new(Idle),
        build: BuildInfo { version: "", sha: "", date: "" },
        metrics: Arc::default(),
        observers: Vec::new(),
    }
}

/// A tunnel that leads nowhere, a clock that stands, and a server that stays.
#[derive(Debug, Clone, Copy)]
pub struct Idle;

impl Clock for Idle {
    fn now(&self) -> Moment {
        Moment::default()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl ServerState for Idle {
    fn is_draining(&self) -> bool {
        false
    }

    fn draining(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn set_status(&self, _: PluginStatus) {}
}

impl Tunnel for Idle {
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
        "none"
    }

    fn drain(&self) {}

    fn close(&self, _: CloseReason) {}
}
