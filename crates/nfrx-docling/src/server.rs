//! The server half: docling's conversions, and the pool of workers behind them.

mod convert;
mod options;

use std::sync::Arc;

use http::Request;
use nfrx_pool::{AnyScorer, Limits, Pool, PoolConfig, RequestMetrics};
use nfrx_spi::{
    Access, Body, BoxFuture, CloseReason, Dialect, MetricsError, MetricsRegistry, OptionError, Plugin,
    PluginContext, PluginDescriptor, PluginFactory, RequestContext, Router, Scheduler, StateRegistry,
    WorkerProvider,
};
use nfrx_tunnel::{Acceptor, TunnelSettings};

use convert::Conversion;
use options::DoclingOptions;

/// The plugin's id, in URLs, metrics and settings.
const ID: &str = "docling";

/// Lists the plugin in a binary.
#[derive(Debug, Clone, Copy, Default)]
pub struct DoclingFactory;

impl PluginFactory for DoclingFactory {
    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
        Ok(Arc::new(Docling::new(&context)?))
    }
}

/// Document conversion over a pool of agents.
struct Docling {
    service: Arc<Service>,
    acceptor: Arc<Acceptor>,
    metrics: Arc<RequestMetrics>,
    upload_bytes_max: u64,
}

/// What the handlers share.
struct Service {
    pool: Pool,
    limits: Limits,
}

impl Docling {
    fn new(context: &PluginContext) -> Result<Self, OptionError> {
        let options = DoclingOptions::read(&context.plugin_options)?;
        let metrics = context.shared.get::<RequestMetrics>();
        // Converters are all alike: any of them will do (HTTP contract §5.2).
        let mut config = PoolConfig::new(ID, AnyScorer, context, Arc::clone(&metrics));
        config.min_score = 0.0;
        // An upload waits nowhere: a queue would hold the documents of all who wait.
        config.queue_max = 0;
        let pool = Pool::new(config);
        let limits = Limits {
            idle: context.options.request_timeout,
            silence: options.silence_max,
            ..Limits::default()
        };
        let acceptor = Acceptor::new(
            TunnelSettings::from_options(&context.options),
            Arc::new(pool.clone()),
            Arc::clone(&context.spawner),
            Arc::clone(&context.clock),
            &context.shared,
        );
        let service = Arc::new(Service { pool, limits });
        let upload_bytes_max = options.upload_bytes_max;
        Ok(Self { service, acceptor: Arc::new(acceptor), metrics, upload_bytes_max })
    }
}

impl Plugin for Docling {
    fn id(&self) -> &'static str {
        ID
    }

    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn register_routes(&self, router: &mut Router) {
        self.service.pool.register_actions(router);
        router.route("/v1", |v1| {
            v1.guard();
            v1.body_bytes_max(self.upload_bytes_max);
            for conversion in Conversion::ALL {
                let service = Arc::clone(&self.service);
                v1.post(conversion.path(), move |request, context| {
                    Arc::clone(&service).convert(conversion, request, context)
                })
                .operation(conversion.operation());
            }
        });
        let acceptor = Arc::clone(&self.acceptor);
        // As with the other kinds of workers, roles count too (KD-45).
        router
            .get("/connect", move |request: Request<Body>, context: RequestContext| {
                std::future::ready(acceptor.upgrade(request, context))
            })
            .access(Access::Worker)
            .dialect(Dialect::Text)
            .operation(Acceptor::operation());
    }

    fn register_metrics(&self, metrics: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        metrics.register(self.acceptor.counters())?;
        self.metrics.register(metrics)
    }

    fn register_state(&self, state: &mut dyn StateRegistry) {
        state.add(Box::new(self.service.pool.clone()));
    }

    fn workers(&self) -> Option<&dyn WorkerProvider> {
        Some(self)
    }

    fn drain(&self) {
        self.service.pool.drain();
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.service.pool.close(CloseReason::ServerStopping);
        Box::pin(std::future::ready(()))
    }
}

impl WorkerProvider for Docling {
    fn scheduler(&self) -> Arc<dyn Scheduler> {
        Arc::new(self.service.pool.clone())
    }
}
