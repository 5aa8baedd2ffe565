//! The contract between nfrx and its plugins: traits and plain types, nothing that
//! runs.
//!
//! nfrx is a public relay for private AI. Agents behind NAT dial out to one server; the
//! server offers what they have under one authenticated API. Whatever is not the relay
//! itself is a plugin: a crate that depends on this one and never on the server.
//!
//! # Map
//!
//! | to do this | read |
//! |---|---|
//! | say what the plugin is and which options it has | [`PluginDescriptor`], [`ArgSpec`] |
//! | be built, started, drained and stopped | [`PluginFactory`], [`Plugin`], [`PluginContext`] |
//! | serve HTTP | [`Router`], [`Handler`], [`RequestContext`], [`Body`], [`ApiError`] |
//! | take over a connection (WebSocket) | [`Upgrade`] |
//! | take workers in and give them requests | [`WorkerIntake`], [`Tunnel`], [`WorkerRef`], [`Scheduler`], [`Scorer`] |
//! | show what is going on | [`StateElement`], [`Collector`], [`metrics`] |
//!
//! Everything at the boundary is boxed: one allocation per request and clarity.

mod body;
mod error;
mod mcp;
pub mod metrics;
mod options;
mod partition;
mod plugin;
mod pool;
mod request;
mod router;
mod shared;
mod state;
mod worker;
mod worker_metrics;

pub use body::{Body, BodyError, BoxFuture};
pub use error::{ApiError, Dialect};
pub use mcp::{McpClientSnapshot, McpSessionSnapshot, McpState};
pub use metrics::{Collector, MetricsError, MetricsRegistry};
pub use options::{
    ArgSpec, ArgType, OptionError, Options, PluginDescriptor, PluginOptions, Secret, parse_bool,
    parse_duration,
};
pub use partition::{PartitionError, PartitionJob, PartitionObserver};
pub use plugin::{
    BuildInfo, Clock, Moment, Plugin, PluginContext, PluginFactory, PluginStatus, ServerState, Spawner,
};
pub use pool::{ModelInfo, PickError, PickedWorker, Scheduler, Scorer, WorkerProvider, WorkerRegistry};
pub use request::{Caller, Io, PathParams, RequestContext, RequestId, Scopes, Upgrade};
pub use router::{
    Access, Guard, Handler, HandlerResult, JSON_BYTES_MAX, Middleware, Operation, Route, Router,
};
pub use shared::Shared;
pub use state::{StateElement, StateRegistry};
pub use worker::{
    CallError, CloseReason, Heartbeat, JoinRefused, Joined, Membership, Newcomer, Registration, StatusUpdate,
    Tunnel, WorkerIntake, WorkerRef, WorkerStatus,
};
pub use worker_metrics::{JobEnd, Metrics, TokenKind};
