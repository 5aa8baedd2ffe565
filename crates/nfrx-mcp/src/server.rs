//! The server half: the public addresses of MCP servers, and the agents behind them.

mod agent;
mod answer;
mod asked;
mod failure;
mod headers;
mod login;
mod memory;
mod metadata;
mod operator;
mod options;
mod registry;
mod relay;
mod running;
mod snapshot;
mod v1;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use nfrx_pool::RequestMetrics;
use nfrx_spi::{
    Access, Body, BoxFuture, CloseReason, Dialect, MetricsError, MetricsRegistry, Operation, OptionError,
    Plugin, PluginContext, PluginDescriptor, PluginFactory, PluginStatus, RequestContext, Router,
    ServerState, StateRegistry,
};
use nfrx_tunnel::Acceptor;
use tokio::time::Instant;

use memory::Memory;
use metadata::{Metadata, WELL_KNOWN};
use options::McpOptions;
use registry::{Intake, Registry, Rules};
use relay::{Limits, Service};
use running::Board;
use snapshot::Snapshot;
use v1::{V1Carrier, V1Settings};

/// The plugin's id, in URLs, metrics and settings.
const ID: &str = "mcp";

/// How often the ids are written at most.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Lists the plugin in a binary.
#[derive(Debug, Clone, Copy, Default)]
pub struct McpFactory;

impl PluginFactory for McpFactory {
    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
        Ok(Arc::new(Mcp::new(context)?))
    }
}

/// MCP servers behind agents.
struct Mcp {
    service: Arc<Service>,
    acceptor: Arc<Acceptor>,
    options: McpOptions,
    memory: Memory,
    context: PluginContext,
}

impl Mcp {
    fn new(context: PluginContext) -> Result<Self, OptionError> {
        let options = McpOptions::read(&context.plugin_options)?;
        let memory = Memory::new(context.options.state_dir.as_deref());
        let rules = Rules { newer_takes_over: options.newer_takes_over, calls_max: options.calls_max };
        let registry = Arc::new(Registry::new(rules, memory.read()));
        let intake = Arc::new(Intake(Arc::clone(&registry)));
        let settings = V1Settings {
            heartbeat: options.heartbeat,
            dead_after: options.dead_after,
            answer_bytes_max: options.answer_bytes_max,
        };
        let old = V1Carrier { settings, intake: intake.clone(), clock: Arc::clone(&context.clock) };
        let acceptor = Arc::new(Acceptor::for_plugin(&context, intake).with_legacy(Arc::new(old)));
        let requests = context.shared.get::<RequestMetrics>();
        let head_max = context.options.request_timeout;
        let service = Arc::new(Service {
            registry,
            board: Arc::new(Board::new(Arc::clone(&context.clock), requests)),
            state: Arc::clone(&context.state),
            metadata: Metadata::new(context.options.public_url.clone()),
            limits: Limits {
                agent_wait: options.agent_wait,
                head_max: (!head_max.is_zero()).then_some(head_max),
                idle_max: options.idle_max,
            },
            public: options.public,
        });
        Ok(Self { service, acceptor, options, memory, context })
    }

    /// A server's address and what is below it; the plugin judges who may call.
    fn server_routes(&self, router: &mut Router, pattern: &str) {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let service = Arc::clone(&self.service);
            router
                .handle(method.clone(), pattern, move |request, context| {
                    Arc::clone(&service).relay(request, context)
                })
                .access(Access::Plugin)
                .own_pages_only()
                .dialect(Dialect::JsonRpc)
                .body_bytes_max(self.options.request_bytes_max)
                .operation(Operation {
                    summary: "Passes a request on to an MCP server",
                    response_type: Some("*/*"),
                    streams: true,
                    may_be_empty: true,
                    passes_errors: true,
                    ..Operation::default()
                });
        }
    }
}

impl Plugin for Mcp {
    fn id(&self) -> &'static str {
        ID
    }

    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn register_routes(&self, router: &mut Router) {
        self.server_routes(router, "/id/{id}");
        self.server_routes(router, "/id/{id}/{*below}");
        let acceptor = Arc::clone(&self.acceptor);
        router
            .get("/connect", move |request: Request<Body>, context: RequestContext| {
                std::future::ready(acceptor.upgrade(request, context))
            })
            .access(Access::Worker)
            .dialect(Dialect::Text)
            .operation(Acceptor::operation());
        let registry = Arc::clone(&self.service.registry);
        router
            .get("/operator/{id}", move |_: Request<Body>, context: RequestContext| {
                operator::describe(Arc::clone(&registry), context.params.get("id").to_owned())
            })
            .access(Access::Admin)
            .operation(Operation {
                summary: "Asks the agents of an MCP server for its tools and what it last said",
                response: Some(serde_json::json!({ "type": "object", "required": ["id", "agents"] })),
                ..Operation::default()
            });
        router.mount(WELL_KNOWN, |root| {
            let service = Arc::clone(&self.service);
            root.get("/api/mcp/id/{id}", move |_: Request<Body>, context: RequestContext| {
                Arc::clone(&service).describe(context)
            })
            .access(Access::Open)
            .operation(Operation {
                summary: "Describes an MCP server as RFC 9728 has it",
                response: Some(serde_json::json!({ "type": "object", "required": ["resource"] })),
                ..Operation::default()
            });
        });
    }

    fn register_metrics(&self, metrics: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        metrics.register(self.acceptor.counters())?;
        self.service.board.register(metrics)
    }

    fn register_state(&self, state: &mut dyn StateRegistry) {
        state.add(Box::new(Snapshot::new(
            Arc::clone(&self.service.registry),
            Arc::clone(&self.service.board),
        )));
    }

    fn start(&self) {
        let (memory, registry) = (self.memory.clone(), Arc::clone(&self.service.registry));
        let following = follow(registry, memory, Arc::clone(&self.context.state));
        self.context.spawner.spawn("mcp ids", Box::pin(following));
    }

    fn drain(&self) {
        self.service.registry.close();
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.service.registry.close_all(CloseReason::ServerStopping);
        Box::pin(self.memory.keep(self.service.registry.known()))
    }
}

/// Says whether anything can be served, and keeps the ids, as agents come and go; until the
/// server drains: what is known then is kept by its stop.
async fn follow(registry: Arc<Registry>, memory: Memory, state: Arc<dyn ServerState>) {
    let mut changes = registry.changes();
    let mut kept_at = Instant::now();
    memory.keep(registry.known()).await;
    let draining = state.draining();
    tokio::pin!(draining);
    loop {
        let ready = registry.agents().iter().any(|agent| agent.takes_new());
        state.set_status(if ready { PluginStatus::Ready } else { PluginStatus::NotReady });
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = &mut draining => return,
            () = tokio::time::sleep_until(kept_at + KEEP_EVERY) => {
                memory.keep(registry.known()).await;
                kept_at = Instant::now();
                // Nothing to keep until somebody comes, changes or leaves.
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = &mut draining => return,
                }
            }
        }
    }
}
