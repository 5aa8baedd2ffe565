//! The plugin host: builds plugins, gives each what it is promised, and calls its hooks.

mod ready;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use nfrx_runtime::metrics_text::Registry;
use nfrx_runtime::{Drain, TokioClock};
use nfrx_spi::{
    Collector, Guard, MetricsError, MetricsRegistry, Options, Plugin, PluginContext, PluginDescriptor,
    PluginFactory, PluginOptions, PluginStatus, Route, Router, Shared, StateElement, StateRegistry,
};
use tracing::{debug, info, warn};

use crate::config::{PluginChoice, ServerConfig};
use crate::error::StartError;
use state::PluginState;

/// The plugins of this process.
pub(crate) struct Host {
    built: Vec<Built>,
    own_options: PluginOptions,
    /// All that the binary has, also those not built, by id.
    pub(crate) descriptors: BTreeMap<&'static str, PluginDescriptor>,
}

/// One plugin.
pub(crate) struct Built {
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) options: PluginOptions,
    state: PluginState,
}

/// What the plugins added at start.
pub(crate) struct Registered {
    pub(crate) routes: Vec<Route>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) elements: Vec<Box<dyn StateElement>>,
}

impl Host {
    /// Builds the chosen plugins, in the order given.
    pub(crate) fn build(
        config: &ServerConfig,
        factories: &[Box<dyn PluginFactory>],
        tasks: &Drain,
    ) -> Result<Self, StartError> {
        let descriptors = descriptors(factories)?;
        warn_of_unknown(&config.plugins, &descriptors);
        let options = Arc::new(options(config, &descriptors));
        let clock = Arc::new(TokioClock::new());
        let shared = Shared::default();
        let mut built = Vec::new();
        for factory in factories {
            let descriptor = factory.descriptor();
            let id = descriptor.id;
            if !factory.is_always_built() && !is_chosen(&config.plugins, id) {
                continue;
            }
            let plugin_options = options.plugin_options.get(id).cloned().unwrap_or_default();
            let state = PluginState::new(tasks.watch());
            let context = PluginContext {
                options: Arc::clone(&options),
                plugin_options: plugin_options.clone(),
                spawner: Arc::new(tasks.clone()),
                state: Arc::new(state.clone()),
                clock: Arc::clone(&clock) as _,
                build: config.build,
                shared: shared.clone(),
            };
            let plugin =
                factory.build(context).map_err(|source| StartError::Plugin { plugin: id, source })?;
            if plugin.id() != id || plugin.descriptor() != descriptor {
                return Err(StartError::PluginDescriptor { plugin: id });
            }
            info!(plugin = id, "plugin built");
            built.push(Built { plugin, options: plugin_options, state });
        }
        Ok(Self { built, own_options: config.own_options.clone(), descriptors })
    }

    /// Collects routes, metrics and state of all plugins.
    pub(crate) fn register(&self, metrics: &mut Registry) -> Result<Registered, StartError> {
        let mut registered = Registered { routes: Vec::new(), guards: Vec::new(), elements: Vec::new() };
        let mut ids = BTreeSet::from(["server"]);
        for Built { plugin, .. } in &self.built {
            let id = plugin.id();
            let mut router = Router::new(id, format!("/api/{id}"));
            plugin.register_routes(&mut router);
            if let Some(workers) = plugin.workers() {
                ready::route(&mut router, workers);
            }
            let (mut routes, mut guards) = router.into_parts();
            registered.routes.append(&mut routes);
            registered.guards.append(&mut guards);
            let mut checked = Checked { registry: metrics, refused: None };
            let registering = plugin.register_metrics(&mut checked);
            if let Some(source) = registering.err().or(checked.refused) {
                return Err(StartError::Metrics { plugin: id, source });
            }
            let mut elements = Elements::default();
            plugin.register_state(&mut elements);
            if let Some(twice) = elements.0.iter().map(|element| element.id()).find(|id| !ids.insert(id)) {
                return Err(StartError::StateId { plugin: id, id: twice });
            }
            registered.elements.append(&mut elements.0);
        }
        Ok(registered)
    }

    /// The plugins, in their order.
    pub(crate) fn plugins(&self) -> &[Built] {
        &self.built
    }

    /// The server's own options.
    pub(crate) fn own_options(&self) -> &PluginOptions {
        &self.own_options
    }

    /// How each plugin is, by id.
    pub(crate) fn statuses(&self) -> BTreeMap<&'static str, PluginStatus> {
        self.built.iter().map(|built| (built.plugin.id(), built.state.status())).collect()
    }

    /// Ports are bound, nobody is served yet.
    pub(crate) fn start(&self) {
        for built in &self.built {
            built.plugin.start();
        }
    }

    /// The drain begins.
    pub(crate) fn drain(&self) {
        for built in &self.built {
            built.plugin.drain();
        }
    }

    /// Nobody is served any more. Bounded: a plugin that takes longer is left behind.
    pub(crate) async fn stop(&self, time_max: Duration) {
        let stopping = join_all(self.built.iter().map(|built| async {
            built.plugin.stop().await;
            debug!(plugin = built.plugin.id(), "plugin stopped");
        }));
        if tokio::time::timeout(time_max, stopping).await.is_err() {
            warn!("a plugin did not stop in time");
        }
    }
}

/// Remembers the first refusal, in case a plugin drops it.
struct Checked<'a> {
    registry: &'a mut Registry,
    refused: Option<MetricsError>,
}

impl MetricsRegistry for Checked<'_> {
    fn register(&mut self, collector: Arc<dyn Collector>) -> Result<(), MetricsError> {
        let result = self.registry.register(collector);
        if let Err(error) = &result {
            self.refused.get_or_insert_with(|| error.clone());
        }
        result
    }
}

#[derive(Default)]
struct Elements(Vec<Box<dyn StateElement>>);

impl StateRegistry for Elements {
    fn add(&mut self, element: Box<dyn StateElement>) {
        self.0.push(element);
    }
}

fn descriptors(
    factories: &[Box<dyn PluginFactory>],
) -> Result<BTreeMap<&'static str, PluginDescriptor>, StartError> {
    let mut descriptors = BTreeMap::new();
    for descriptor in factories.iter().map(|factory| factory.descriptor()) {
        let id = descriptor.id;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let is_ours = matches!(id, "state" | "client" | "server");
        if id.is_empty() || is_ours || !id.chars().all(fits) || descriptors.insert(id, descriptor).is_some() {
            return Err(StartError::PluginId { id });
        }
    }
    Ok(descriptors)
}

fn is_chosen(choice: &PluginChoice, id: &str) -> bool {
    match choice {
        PluginChoice::All => true,
        PluginChoice::Named(ids) => ids.iter().any(|chosen| chosen == id),
    }
}

fn warn_of_unknown(choice: &PluginChoice, descriptors: &BTreeMap<&'static str, PluginDescriptor>) {
    let PluginChoice::Named(ids) = choice else { return };
    for id in ids.iter().filter(|id| !descriptors.contains_key(id.as_str())) {
        warn!(plugin = %id, "PLUGINS names a plugin that this binary does not have");
    }
}

fn options(config: &ServerConfig, descriptors: &BTreeMap<&'static str, PluginDescriptor>) -> Options {
    let own = |(id, descriptor): (&&'static str, &PluginDescriptor)| {
        let given = config.plugin_options.get(*id).cloned();
        (*id, given.unwrap_or_else(|| PluginOptions::new(descriptor.args.clone(), BTreeMap::new())))
    };
    Options {
        request_timeout: config.request_timeout,
        client_key: config.login.workers.key.clone(),
        client_http_roles: config.login.workers.roles.clone(),
        agent_heartbeat_interval: Duration::ZERO,
        agent_heartbeat_expiry: Duration::ZERO,
        public_url: config.origin.public_url.clone(),
        state_dir: config.state_dir.clone(),
        plugin_options: descriptors.iter().map(own).collect(),
    }
}
