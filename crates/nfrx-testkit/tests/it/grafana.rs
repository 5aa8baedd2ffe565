//! What `deploy/grafana` asks for is what is served.

use std::collections::BTreeSet;
use std::sync::Arc;

use nfrx_llm::LlmFactory;
use nfrx_runtime::{Drain, TokioClock};
use nfrx_spi::{
    BoxFuture, Collector, MetricsError, MetricsRegistry, PluginContext, PluginFactory, PluginOptions,
    PluginStatus, ServerState, Shared,
};
use nfrx_testkit::http::get;
use nfrx_testkit::relay::{API_KEY, Relay, config};

const DASHBOARD: &str = include_str!("../../../../deploy/grafana/dashboard.json");
const ALERTS: &str = include_str!("../../../../deploy/grafana/alerts.yaml");

/// Every name of a metric in a text, without what Prometheus adds to a histogram's.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_part(c));
    let ours =
        words.filter(|word| ["nfrx_", "process_", "gen_ai_"].iter().any(|start| word.starts_with(start)));
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word)).collect()
}

/// Notes the names of what a plugin registers, also of series that have not moved yet.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl MetricsRegistry for Names {
    fn register(&mut self, collector: Arc<dyn Collector>) -> Result<(), MetricsError> {
        self.0.extend(collector.collect().into_iter().map(|family| family.name.to_owned()));
        Ok(())
    }
}

struct NoState;

impl ServerState for NoState {
    fn is_draining(&self) -> bool {
        false
    }

    fn draining(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn set_status(&self, _: PluginStatus) {}
}

fn of_the_plugin() -> BTreeSet<String> {
    let context = PluginContext {
        options: Arc::default(),
        plugin_options: PluginOptions::new(LlmFactory.descriptor().args, Default::default()),
        spawner: Arc::new(Drain::new()),
        state: Arc::new(NoState),
        clock: Arc::new(TokioClock::new()),
        build: nfrx_runtime::build_info(),
        shared: Shared::default(),
    };
    let mut names = Names::default();
    let plugin = LlmFactory.build(context).expect("valid options");
    plugin.register_metrics(&mut names).expect("good names");
    names.0
}

// Seen to fail: with a name in the alerts misspelt.
#[tokio::test(start_paused = true)]
async fn the_dashboard_and_the_alerts_ask_for_series_that_exist() {
    serde_json::from_str::<serde_json::Value>(DASHBOARD).expect("the dashboard is JSON");
    let relay = Relay::start(config(&[]));
    assert_eq!(relay.ask(get("/api/state", Some("wrong"))).await.status().as_u16(), 401);
    let metrics = relay.ask(get("/metrics", Some(API_KEY))).await.text();
    let served = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut known = of_the_plugin();
    known.extend(served.map(str::to_owned));
    for (file, text, least) in [("dashboard.json", DASHBOARD, 15), ("alerts.yaml", ALERTS, 8)] {
        let asked = names(text);
        assert!(asked.len() >= least, "{file} asks for {asked:?}");
        // The relay of this test has no jobs; a test of the binary looks at those.
        let asked = asked.into_iter().filter(|name| !name.starts_with("nfrx_jobs_"));
        let unknown: Vec<_> = asked.filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file} asks for what is not served: {unknown:?}; served: {known:?}");
    }
}
