//! The server half: a plugin with workers.

mod caption;
mod captions;
mod metrics;
mod options;
mod state;

use std::sync::Arc;

use http::Request;
use http::header::{CONTENT_TYPE, HeaderValue};
use nfrx_pool::{Limits, Pool, PoolConfig, RequestMetrics};
use nfrx_spi::{
    Access, ApiError, Body, BoxFuture, Clock, CloseReason, Dialect, HandlerResult, MetricsError,
    MetricsRegistry, Operation, OptionError, Plugin, PluginContext, PluginDescriptor, PluginFactory,
    RequestContext, Router, Scheduler, Scopes, Scorer, StateRegistry, WorkerProvider, WorkerRegistry,
};
use nfrx_tunnel::Acceptor;
use serde_json::{Value, json};

use metrics::CaptionMetrics;
use options::CaptionerOptions;
use state::CaptionState;

/// The plugin's id, in URLs, metrics and settings.
const ID: &str = "captioner";

/// Lists the plugin in a binary.
#[derive(Debug, Clone, Copy, Default)]
pub struct CaptionerFactory;

impl PluginFactory for CaptionerFactory {
    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
        Ok(Arc::new(Captioner::new(&context)?))
    }
}

/// Captions over a pool of agents.
struct Captioner {
    pool: Pool,
    acceptor: Arc<Acceptor>,
    service: Arc<Service>,
    requests: Arc<RequestMetrics>,
}

/// What the handlers share.
struct Service {
    pool: Pool,
    options: CaptionerOptions,
    limits: Limits,
    clock: Arc<dyn Clock>,
    metrics: Arc<CaptionMetrics>,
}

/// A worker serves a style if it offers exactly that.
struct StyleScorer;

impl Scorer for StyleScorer {
    fn score(&self, wanted: &str, offered: &str) -> f64 {
        if wanted == offered { 1.0 } else { 0.0 }
    }
}

impl Captioner {
    fn new(context: &PluginContext) -> Result<Self, OptionError> {
        let options = CaptionerOptions::read(&context.plugin_options)?;
        let requests = context.shared.get::<RequestMetrics>();
        let mut config = PoolConfig::new(ID, StyleScorer, context, Arc::clone(&requests));
        config.queue_max = options.queue_max;
        let pool = Pool::new(config);
        let acceptor = Arc::new(Acceptor::for_plugin(context, Arc::new(pool.clone())));
        let limits = Limits {
            idle: context.options.request_timeout,
            silence: options.caption_time_max,
            queue: options.queue_wait_max,
        };
        let service = Arc::new(Service {
            pool: pool.clone(),
            options,
            limits,
            clock: Arc::clone(&context.clock),
            metrics: Arc::default(),
        });
        Ok(Self { pool, acceptor, service, requests })
    }
}

impl Plugin for Captioner {
    fn id(&self) -> &'static str {
        ID
    }

    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn register_routes(&self, router: &mut Router) {
        router.route("/v1", |v1| {
            v1.dialect(Dialect::OpenAi).guard();
            let (service, scheduler) = (Arc::clone(&self.service), self.scheduler());
            v1.post("/caption", move |request, context| {
                Arc::clone(&service).caption(Arc::clone(&scheduler), request, context)
            })
            .body_bytes_max(self.service.options.picture_bytes_max)
            .operation(Operation { summary: "Captions one picture", ..Operation::default() });
            let service = Arc::clone(&self.service);
            v1.post("/captions", move |request, context| Arc::clone(&service).captions(request, context))
                .operation(captions::operation());
            let service = Arc::clone(&self.service);
            v1.get("/styles", move |_: Request<Body>, context| std::future::ready(service.styles(&context)))
                .operation(Operation { summary: "Lists the styles on offer", ..Operation::default() });
        });
        let acceptor = Arc::clone(&self.acceptor);
        router
            .get("/connect", move |request, context| std::future::ready(acceptor.upgrade(request, context)))
            .access(Access::Worker)
            .dialect(Dialect::Text);
    }

    fn register_metrics(&self, metrics: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        metrics.register(Arc::clone(&self.service.metrics) as _)?;
        metrics.register(self.acceptor.counters())?;
        self.requests.register(metrics)
    }

    fn register_state(&self, state: &mut dyn StateRegistry) {
        state.add(Box::new(CaptionState::new(self.pool.clone(), Arc::clone(&self.service.metrics))));
    }

    fn workers(&self) -> Option<&dyn WorkerProvider> {
        Some(self)
    }

    fn drain(&self) {
        self.pool.drain();
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.pool.close(CloseReason::ServerStopping);
        Box::pin(std::future::ready(()))
    }
}

impl WorkerProvider for Captioner {
    fn scheduler(&self) -> Arc<dyn Scheduler> {
        Arc::new(self.pool.clone())
    }
}

impl Service {
    /// `GET /v1/styles`: what the connected workers offer, as far as the key may use it.
    fn styles(&self, context: &RequestContext) -> HandlerResult {
        let scopes = &context.caller.scopes;
        let offered =
            self.pool.aggregated_models().into_iter().filter(|style| scopes.allows_model(&style.id));
        let styles = offered.map(|style| json!({ "style": style.id, "workers": style.owners.len() }));
        Ok(answer(&json!({ "styles": styles.collect::<Vec<_>>() })))
    }

    /// The style that is meant, if the key may ask for it. A key that is good for some
    /// workers only is refused: here the pool chooses.
    fn style(&self, asked: Option<String>, scopes: &Scopes) -> Result<String, ApiError> {
        let style = asked.unwrap_or_else(|| self.options.default_style.clone());
        if !scopes.workers.is_empty() {
            return Err(ApiError::Forbidden("this key is for other workers".to_owned()));
        }
        if !scopes.allows_model(&style) {
            return Err(ApiError::Forbidden("this key may not use this style".to_owned()));
        }
        Ok(style)
    }
}

/// An answer in JSON.
fn answer(value: &Value) -> http::Response<Body> {
    let mut response = http::Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
