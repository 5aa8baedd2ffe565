//! The plugin: what the server lists, builds and calls.

use std::sync::Arc;

use nfrx_spi::{
    BoxFuture, MetricsError, MetricsRegistry, OptionError, Plugin, PluginContext, PluginDescriptor,
    PluginFactory, Router, StateRegistry,
};

use crate::http;
use crate::metrics::JobsMetrics;
use crate::options::{self, JobsOptions};
use crate::service::Jobs;
use crate::spool::Spool;
use crate::state::JobsState;
use crate::store;

/// The plugin's id, in URLs, metrics and settings.
pub(crate) const ID: &str = "jobs";

/// Lists the plugin in a binary.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobsFactory;

impl PluginFactory for JobsFactory {
    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn is_always_built(&self) -> bool {
        true
    }

    fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
        let mut options = JobsOptions::read(&context.plugin_options)?;
        if !options.enabled {
            return Ok(Arc::new(JobsPlugin { jobs: None }));
        }
        let folder = context.options.state_dir.as_ref().filter(|_| options.durable).map(|dir| dir.join(ID));
        options.durable = folder.is_some();
        let store = store::open(folder.as_deref())
            .map_err(|error| context.plugin_options.refuse("store", &error.to_string()))?;
        let metrics = Arc::<JobsMetrics>::default();
        let objects = folder.map(|folder| folder.join("objects"));
        let spool = Spool::open(objects.as_deref(), options.spool_bytes_max, Arc::clone(&metrics))
            .map_err(|error| context.plugin_options.refuse("store", &error.to_string()))?;
        let jobs = Jobs::new(&context, options, store, spool, metrics);
        Ok(Arc::new(JobsPlugin { jobs: Some(jobs) }))
    }
}

/// Jobs and transfers; nothing where they are switched off.
struct JobsPlugin {
    jobs: Option<Arc<Jobs>>,
}

impl Plugin for JobsPlugin {
    fn id(&self) -> &'static str {
        ID
    }

    fn descriptor(&self) -> PluginDescriptor {
        options::descriptor()
    }

    fn register_routes(&self, router: &mut Router) {
        if let Some(jobs) = &self.jobs {
            http::register(jobs, router);
            jobs.transfers.register(router);
        }
    }

    fn register_metrics(&self, metrics: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        self.jobs.as_ref().map_or(Ok(()), |jobs| jobs.metrics.register(metrics))
    }

    fn register_state(&self, state: &mut dyn StateRegistry) {
        if let Some(jobs) = &self.jobs {
            state.add(Box::new(JobsState(Arc::clone(jobs))));
        }
    }

    fn start(&self) {
        if let Some(jobs) = &self.jobs {
            jobs.start();
        }
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(jobs) = &self.jobs {
                jobs.stop().await;
            }
        })
    }
}
