//! The server half: OpenAI's transcriptions, and the pool of workers behind them.

mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod intake;
mod options;
mod spool;
mod transcribe;

use std::sync::Arc;

use http::Request;
use nfrx_pool::{AliasScorer, Limits, Pool, PoolConfig, RequestMetrics};
use nfrx_spi::{
    Access, Body, BoxFuture, CloseReason, Dialect, MetricsError, MetricsRegistry, OptionError, Plugin,
    PluginContext, PluginDescriptor, PluginFactory, RequestContext, Router, Scheduler, StateRegistry,
    WorkerProvider,
};
use nfrx_tunnel::{Acceptor, TunnelSettings};

use options::AsrOptions;
use spool::Spool;

/// The plugin's id, in URLs, metrics and settings.
const ID: &str = "asr";

/// Lists the plugin in a binary.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsrFactory;

impl PluginFactory for AsrFactory {
    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
        Ok(Arc::new(Asr::new(&context)?))
    }
}

/// Speech recognition over a pool of agents.
struct Asr {
    service: Arc<Service>,
    acceptor: Arc<Acceptor>,
    metrics: Arc<RequestMetrics>,
    upload_bytes_max: u64,
}

/// What the handlers share.
struct Service {
    pool: Pool,
    limits: Limits,
    spool: Arc<Spool>,
}

impl Asr {
    fn new(context: &PluginContext) -> Result<Self, OptionError> {
        let options = AsrOptions::read(&context.plugin_options)?;
        let metrics = context.shared.get::<RequestMetrics>();
        let mut config = PoolConfig::new(ID, AliasScorer, context, Arc::clone(&metrics));
        config.min_score = options.min_score;
        // An upload waits nowhere: a queue would hold the audio of all who wait.
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
        let spool = Arc::new(Spool::new(options.spool_dir, options.spool_bytes_max));
        let service = Arc::new(Service { pool, limits, spool });
        let upload_bytes_max = options.upload_bytes_max;
        Ok(Self { service, acceptor: Arc::new(acceptor), metrics, upload_bytes_max })
    }

    fn transcriptions(&self, router: &mut Router) {
        let service = Arc::clone(&self.service);
        router
            .post(transcribe::PATH, move |request, context| Arc::clone(&service).transcribe(request, context))
            .body_bytes_max(self.upload_bytes_max)
            .operation(transcribe::operation());
    }

    fn models(&self, router: &mut Router) {
        let pool = self.service.pool.clone();
        router
            .get("/models", move |_: Request<Body>, context: RequestContext| {
                std::future::ready(pool.list_models(None, &context.caller.scopes))
            })
            .operation(Pool::list_models_operation());
        let pool = self.service.pool.clone();
        router
            .get("/models/{*model}", move |_: Request<Body>, context: RequestContext| {
                let model = context.params.get("model");
                std::future::ready(pool.show_model(model, None, &context.caller.scopes))
            })
            .operation(Pool::show_model_operation());
    }
}

impl Plugin for Asr {
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
            self.transcriptions(v1);
            self.models(v1);
        });
        // Models are listed there by whoever serves language models.
        router.mount("/v1", |root| {
            root.dialect(Dialect::OpenAi).guard();
            self.transcriptions(root);
        });
        let acceptor = Arc::clone(&self.acceptor);
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
        self.service.spool.register(metrics)?;
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

impl WorkerProvider for Asr {
    fn scheduler(&self) -> Arc<dyn Scheduler> {
        Arc::new(self.service.pool.clone())
    }
}
