//! The contract between nfrx and its plugins: traits and plain types, nothing that
//! runs.
//!
//! nfrx is a public relay for private AI. Agents behind NAT dial out to one server; the
//! server offers what they have under one authenticated API. Whatever is not the relay
//! itself is a plugin: a crate that depends on this one and never on the server. Chat,
//! speech, documents, MCP and jobs are plugins, and so is what you are about to write.
//!
//! This page is the manual's table of contents: the map, one complete plugin, a table from
//! concept to item, and who calls what, when. `docs/plugin-guide.md` walks through a plugin
//! with workers in fifteen minutes.
//!
//! # The map
//!
//! ```text
//!  client ──▶ gate, limits ──▶ Handler ──▶ Scheduler ──▶ WorkerRef::call ──▶ Tunnel ──▶ agent
//!             (the server, by   (yours)     (takes a      (streams both
//!              your Router)                  slot)         ways)
//!
//!  agent ───▶ a route with Access::Worker ──▶ WorkerIntake::join ──▶ Membership, until it leaves
//!
//!  scrape ──▶ Collector       dashboard ──▶ StateElement       stop signal ──▶ Plugin::drain, stop
//! ```
//!
//! | to do this | begin with |
//! |---|---|
//! | say what the plugin is and which options it has | [`PluginDescriptor`], [`ArgSpec`] |
//! | be built, started, drained and stopped | [`PluginFactory`], [`Plugin`], [`PluginContext`] |
//! | serve HTTP | [`Router`], [`Handler`], [`RequestContext`], [`Body`], [`ApiError`] |
//! | take over a connection (WebSocket) | [`Upgrade`] |
//! | take workers in and give them requests | [`WorkerIntake`], [`Tunnel`], [`WorkerRef`], [`Scheduler`], [`Scorer`] |
//! | split work over workers | [`PartitionJob`] |
//! | show what is going on | [`StateElement`], [`Collector`], [`metrics`] |
//!
//! What runs is elsewhere: `nfrx-pool` implements scheduler, registry and intake,
//! `nfrx-tunnel` the tunnel, `nfrx-server` everything that a plugin is handed.
//!
//! # A complete plugin
//!
//! It greets, at `GET /api/greeter/hello/{name}`, whoever shows a client's key. Its word is
//! an option (`--greeter-word`, `GREETER_WORD`, YAML), and the state tells how many it
//! greeted. A binary lists `GreeterFactory`, and that is all there is to do.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use http::Response;
//! use nfrx_spi::{
//!     ApiError, ArgSpec, ArgType, Body, HandlerResult, OptionError, Plugin, PluginContext,
//!     PluginDescriptor, PluginFactory, RequestContext, Router, StateElement, StateRegistry,
//! };
//! use serde_json::{Value, json};
//!
//! /// What a binary lists.
//! struct GreeterFactory;
//!
//! impl PluginFactory for GreeterFactory {
//!     fn descriptor(&self) -> PluginDescriptor {
//!         let word = ArgSpec::new("word", ArgType::String, "the word of greeting")
//!             .from("--greeter-word", "GREETER_WORD", "plugin_options.greeter.word")
//!             .default("Hello");
//!         PluginDescriptor {
//!             id: "greeter",
//!             name: "Greeter",
//!             summary: "Greets by name",
//!             args: vec![word],
//!         }
//!     }
//!
//!     fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
//!         let word = context.plugin_options.text("word");
//!         if word.contains('\n') {
//!             return Err(context.plugin_options.refuse("word", "one line"));
//!         }
//!         Ok(Arc::new(Greeter(Arc::new(Greetings { word: word.to_owned(), count: AtomicU64::new(0) }))))
//!     }
//! }
//!
//! struct Greeter(Arc<Greetings>);
//!
//! /// What the handler and the state share.
//! struct Greetings {
//!     word: String,
//!     count: AtomicU64,
//! }
//!
//! impl Plugin for Greeter {
//!     fn id(&self) -> &'static str {
//!         "greeter"
//!     }
//!
//!     fn descriptor(&self) -> PluginDescriptor {
//!         GreeterFactory.descriptor()
//!     }
//!
//!     fn register_routes(&self, router: &mut Router) {
//!         let greetings = Arc::clone(&self.0);
//!         router.get("/hello/{name}", move |_, context| hello(Arc::clone(&greetings), context));
//!     }
//!
//!     fn register_state(&self, state: &mut dyn StateRegistry) {
//!         state.add(Box::new(GreeterState(Arc::clone(&self.0))));
//!     }
//! }
//!
//! async fn hello(greetings: Arc<Greetings>, context: RequestContext) -> HandlerResult {
//!     let name = context.params.get("name");
//!     if name.len() > 64 {
//!         return Err(ApiError::BadRequest("a name has at most 64 bytes".to_owned()));
//!     }
//!     greetings.count.fetch_add(1, Ordering::Relaxed);
//!     Ok(Response::new(Body::from(format!("{}, {name}!\n", greetings.word))))
//! }
//!
//! struct GreeterState(Arc<Greetings>);
//!
//! impl StateElement for GreeterState {
//!     fn id(&self) -> &'static str {
//!         "greeter"
//!     }
//!
//!     fn data(&self) -> Value {
//!         json!({ "greeted": self.0.count.load(Ordering::Relaxed) })
//!     }
//! }
//! # // What a server does with it, as far as it goes without one.
//! # use nfrx_spi::*;
//! # use std::time::{Duration, SystemTime};
//! # struct Nobody;
//! # impl Spawner for Nobody {
//! #     fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {}
//! # }
//! # impl ServerState for Nobody {
//! #     fn is_draining(&self) -> bool { false }
//! #     fn draining(&self) -> BoxFuture<'static, ()> { Box::pin(std::future::pending()) }
//! #     fn set_status(&self, _: PluginStatus) {}
//! # }
//! # impl Clock for Nobody {
//! #     fn now(&self) -> Moment { Moment::default() }
//! #     fn wall(&self) -> SystemTime { SystemTime::UNIX_EPOCH }
//! #     fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> { Box::pin(std::future::pending()) }
//! # }
//! # #[derive(Default)]
//! # struct Elements(Vec<Box<dyn StateElement>>);
//! # impl StateRegistry for Elements {
//! #     fn add(&mut self, element: Box<dyn StateElement>) { self.0.push(element) }
//! # }
//! # fn build(word: &str) -> Result<Arc<dyn Plugin>, OptionError> {
//! #     let values = [("word".to_owned(), word.to_owned())].into();
//! #     GreeterFactory.build(PluginContext {
//! #         options: Arc::default(),
//! #         plugin_options: PluginOptions::new(GreeterFactory.descriptor().args, values),
//! #         spawner: Arc::new(Nobody),
//! #         state: Arc::new(Nobody),
//! #         clock: Arc::new(Nobody),
//! #         build: BuildInfo { version: "dev", sha: "unknown", date: "unknown" },
//! #         shared: Shared::default(),
//! #     })
//! # }
//! # let refused = build("a\nb").err().expect("two lines").to_string();
//! # assert!(refused.starts_with("option `plugin_options.greeter.word`: must be one line"), "{refused}");
//! # let plugin = build("Good day").ok().expect("a fine word");
//! # let mut router = Router::new(plugin.id(), format!("/api/{}", plugin.id()));
//! # plugin.register_routes(&mut router);
//! # let (routes, _) = router.into_parts();
//! # assert_eq!((routes[0].pattern.as_str(), routes[0].access), ("/api/greeter/hello/{name}", Access::Client));
//! # let context = RequestContext {
//! #     id: RequestId::new("r-1"),
//! #     caller: Caller { peer: "127.0.0.1:1000".parse().unwrap(), key: None, scopes: Arc::default() },
//! #     dialect: Dialect::Contract,
//! #     params: PathParams::new(vec![("name".into(), "Ada".to_owned())]),
//! # };
//! # let mut answer = routes[0].handler.call(http::Request::new(Body::empty()), context);
//! # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! # let std::task::Poll::Ready(Ok(answer)) = answer.as_mut().poll(&mut cx) else { panic!("at once") };
//! # assert_eq!(answer.body().as_bytes().as_deref(), Some(&b"Good day, Ada!\n"[..]));
//! # let mut elements = Elements::default();
//! # plugin.register_state(&mut elements);
//! # assert_eq!(elements.0[0].data(), json!({ "greeted": 1 }));
//! ```
//!
//! # From concept to item
//!
//! **Describing a plugin and its options**
//!
//! | concept | item |
//! |---|---|
//! | what a plugin says of itself | [`PluginDescriptor`] |
//! | one option: names, type, default, help, secrecy | [`ArgSpec`], [`ArgType`] |
//! | the plugin's own values, typed | [`PluginOptions`] |
//! | the server's settings that concern plugins | [`Options`] |
//! | a value that is refused, by its option's name | [`OptionError`] |
//! | a text that is never shown | [`Secret`] |
//! | how yes, no and spans of time are read | [`parse_bool`], [`parse_duration`] |
//!
//! **A plugin's life**
//!
//! | concept | item |
//! |---|---|
//! | what a binary lists, and builds | [`PluginFactory`] |
//! | one kind of service, with its hooks | [`Plugin`] |
//! | what it is handed | [`PluginContext`], [`BuildInfo`] |
//! | tasks with an owner | [`Spawner`] |
//! | whether the server drains, how the plugin is | [`ServerState`], [`PluginStatus`] |
//! | time that tests can replace | [`Clock`], [`Moment`] |
//! | what the plugins of a process have in common | [`Shared`] |
//! | a boxed future, as object-safe methods give it | [`BoxFuture`] |
//!
//! **HTTP**
//!
//! | concept | item |
//! |---|---|
//! | the list of what is served | [`Router`], [`Route`], [`Guard`] |
//! | who may call, how much may be sent | [`Access`], [`JSON_BYTES_MAX`] |
//! | what a route does, for the API's documentation | [`Operation`] |
//! | code that answers, and code around it | [`Handler`], [`HandlerResult`], [`Middleware`] |
//! | a body that streams, and how it breaks off | [`Body`], [`BodyError`] |
//! | who asks, for what, and with which rights | [`RequestContext`], [`RequestId`], [`PathParams`], [`Caller`], [`Scopes`] |
//! | a plugin that judges callers by itself: what the gate found, and its verdict | [`Login`], [`LoginRefused`], [`KEY_HEADER`] |
//! | what a client is told, in which form | [`ApiError`], [`Dialect`] |
//! | taking a connection over | [`Upgrade`], [`Io`] |
//!
//! **Workers**
//!
//! | concept | item |
//! |---|---|
//! | what an agent says of itself | [`Registration`], [`StatusUpdate`], [`Heartbeat`] |
//! | how a worker is | [`WorkerStatus`] |
//! | the connection it dialed, and its end | [`Tunnel`], [`CloseReason`] |
//! | the end of the key that a tunnel came in with | [`Revocation`] |
//! | a time as state and documents have it | [`rfc3339`] |
//! | joining: at the door, admitted or not, leaving | [`WorkerIntake`], [`Newcomer`], [`Joined`], [`JoinRefused`], [`Membership`] |
//! | a worker that is there, and who is there | [`WorkerRef`], [`WorkerRegistry`], [`ModelInfo`] |
//! | a worker with its slot taken, or why there is none | [`Scheduler`], [`PickedWorker`], [`PickError`] |
//! | how well a label suits | [`Scorer`] |
//! | a plugin that has workers | [`WorkerProvider`] |
//! | why a worker gave no answer | [`CallError`] |
//!
//! **Work that is split over workers**
//!
//! | concept | item |
//! |---|---|
//! | how work is cut and joined | [`PartitionJob`], [`PartitionError`] |
//! | how its parts end | [`PartitionObserver`] |
//!
//! **Showing**
//!
//! | concept | item |
//! |---|---|
//! | a part of the state | [`StateElement`], [`StateRegistry`] |
//! | a traced request, and its spans | [`Trace`], [`TraceId`], [`SpanId`], [`Span`], [`SpanKind`], [`SpanValue`], [`SpanNotes`], [`SpanSink`] |
//! | a trace across processes | [`TRACEPARENT`], [`TRACESTATE`], [`traceparent`], [`read_traceparent`] |
//! | when things happened at an agent | [`AgentTimings`], [`TimingsWanted`], [`TIMINGS`] |
//! | something that is scraped | [`Collector`], [`MetricsRegistry`], [`MetricsError`] |
//! | what it is read as | [`metrics::MetricFamily`], [`metrics::MetricKind`], [`metrics::Sample`], [`metrics::SampleValue`] |
//! | instruments, alone or one per label set, bounded | [`metrics::Counter`], [`metrics::SecondsCounter`], [`metrics::Gauge`], [`metrics::Histogram`], [`metrics::Family`], [`metrics::Instrument`], [`metrics::SECONDS`] |
//! | what happens to workers, for whoever counts along | [`Metrics`], [`JobEnd`], [`TokenKind`] |
//! | the state of MCP relays | [`McpState`], [`McpClientSnapshot`], [`McpSessionSnapshot`] |
//!
//! # Who calls what, when
//!
//! | when | the server calls | from |
//! |---|---|---|
//! | start, before any port is open | [`PluginFactory::descriptor`] of every listed plugin, chosen or not; then [`PluginFactory::build`] of each that is chosen, in the list's order | the task that starts the server |
//! | one is built | [`Plugin::descriptor`], which must be its factory's | the same |
//! | all are built | [`Plugin::register_routes`], [`workers`](Plugin::workers), [`register_metrics`](Plugin::register_metrics), [`register_state`](Plugin::register_state), plugin by plugin; [`Middleware::wrap`] within, and [`Collector::collect`] once, to judge the names | the same |
//! | the ports are bound | [`Plugin::start`] | the same |
//! | a request has passed gate and limits | [`Handler::call`] | the connection's task; on HTTP/2 a task for each request |
//! | an agent has registered | [`WorkerIntake::join`]; [`Membership::open`] once it is welcomed, then [`update`](Membership::update) and [`heartbeat`](Membership::heartbeat) as they come; its drop at the end | the tunnel's task |
//! | `GET /api/{plugin}/ready/{label}` | [`Scheduler::pick_worker`]; the slot is given back at once | the request's task |
//! | a worker is looked for, or gets free | [`Scorer::score`] | the task that takes or frees the slot, under the pool's lock |
//! | `/api/state`, its stream, a view | [`StateElement::data`], at most twice a second; [`StateElement::html`] | the task of whoever looks |
//! | a scrape of `/metrics` | [`Collector::collect`] | the scrape's task |
//! | the first signal to stop | [`Plugin::drain`]; requests are refused (503) from then on | the server's task |
//! | nothing runs any more, or the drain timeout is over | [`Plugin::stop`] of all plugins at once, for 5 seconds at most (half a second after a second signal) | the server's task |
//! | connections are closed | nothing; tasks of the [`Spawner`] have 5 seconds more, then they are dropped | |
//!
//! # What holds everywhere
//!
//! - **Dropping is cancelling.** A handler's future or its answer's body is dropped when the
//!   client leaves; a [`PickedWorker`], a call's future and an answer's body give back what
//!   they hold when you drop them.
//! - **Nothing here may block.** Methods that are not `async` are called from tasks, some
//!   under a lock.
//! - **Input is hostile**, from clients and from workers: bound what you read, show strings
//!   of workers as text only, make no metric label of a client's text.
//! - **Boxed at the boundary**: one allocation for a request, and clarity.

#![deny(missing_docs)]

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
mod times;
mod trace;
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
pub use request::{
    Caller, Io, KEY_HEADER, Login, LoginRefused, PathParams, RequestContext, RequestId, Revocation, Scopes,
    Upgrade,
};
pub use router::{
    Access, Guard, Handler, HandlerResult, JSON_BYTES_MAX, Middleware, Operation, Route, Router,
};
pub use shared::Shared;
pub use state::{StateElement, StateRegistry};
pub use times::rfc3339;
pub use trace::{
    AgentTimings, Span, SpanId, SpanKind, SpanNotes, SpanSink, SpanValue, TIMINGS, TRACEPARENT, TRACESTATE,
    TimingsWanted, Trace, TraceId, read_traceparent, traceparent,
};
pub use worker::{
    CallError, CloseReason, Heartbeat, JoinRefused, Joined, Membership, Newcomer, Registration, StatusUpdate,
    Tunnel, WorkerIntake, WorkerRef, WorkerStatus,
};
pub use worker_metrics::{JobEnd, Metrics, TokenKind};

#[cfg(test)]
mod tests {
    /// The names of the public items: those re-exported here, and those of `metrics`.
    fn public_items() -> Vec<&'static str> {
        let code = include_str!("lib.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let uses = code.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
        let reexported = uses.flat_map(|list| {
            let list = list.rsplit("::").next().unwrap_or(list).trim_matches(['{', '}']);
            list.split(',').map(str::trim).filter(|name| !name.is_empty())
        });
        let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub const "];
        let metrics = include_str!("metrics.rs").lines().filter_map(|line| {
            let name = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
            name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
        });
        reexported.chain(metrics).collect()
    }

    #[test]
    fn the_tables_of_the_front_page_have_every_public_item() {
        let is_row = |line: &&str| line.starts_with("//! | ");
        let tables: String = include_str!("lib.rs").lines().filter(is_row).collect();
        let items = public_items();
        assert!(items.contains(&"Body") && items.contains(&"WorkerStatus") && items.contains(&"SECONDS"));
        // Seen to fail: without the row of `Shared`.
        let missing: Vec<_> = items
            .iter()
            .filter(|item| {
                !tables.contains(&format!("[`{item}`]")) && !tables.contains(&format!("[`metrics::{item}`]"))
            })
            .collect();
        assert!(missing.is_empty(), "say in the tables what they are for: {missing:?}");
    }
}
