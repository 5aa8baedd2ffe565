//! What a plugin says of itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use nfrx_runtime::metrics_text::Registry;
use nfrx_runtime::{Drain, TokioClock, build_info};
use nfrx_spi::{
    Access, ArgSpec, ArgType, BoxFuture, Collector, MetricsError, MetricsRegistry, Options, Plugin,
    PluginContext, PluginDescriptor, PluginFactory, PluginOptions, PluginStatus, Route, Router, ServerState,
    Shared, StateElement, StateRegistry,
};

/// Ids that are the server's own below `/api`.
const TAKEN: [&str; 3] = ["state", "client", "server"];

pub(super) fn violations(factory: &dyn PluginFactory) -> Vec<String> {
    let descriptor = factory.descriptor();
    let mut found = Vec::new();
    if descriptor != factory.descriptor() {
        found.push("its descriptor changes from call to call".to_owned());
    }
    names(&descriptor, &mut found);
    options(&descriptor, &mut found);
    match factory.build(context(&descriptor)) {
        Ok(plugin) if plugin.id() != descriptor.id => {
            found.push(format!("it is `{}` and describes itself as `{}`", plugin.id(), descriptor.id));
        }
        Ok(plugin) if plugin.descriptor() != descriptor => {
            found.push("it describes itself other than its factory does".to_owned());
        }
        Ok(plugin) => {
            routes(&*plugin, &mut found);
            metrics(&*plugin, &mut found);
            state(&*plugin, &mut found);
        }
        Err(error) => found.push(format!("it can't be built with its own defaults: {error}")),
    }
    found
}

/// The routes that a plugin registers.
pub(super) fn routes_of(plugin: &dyn Plugin) -> Vec<Route> {
    let mut router = Router::new(plugin.id(), format!("/api/{}", plugin.id()));
    plugin.register_routes(&mut router);
    router.into_parts().0
}

/// What a plugin is handed when it is built for a look.
pub(super) fn context(descriptor: &PluginDescriptor) -> PluginContext {
    PluginContext {
        options: Arc::new(Options::default()),
        plugin_options: PluginOptions::new(descriptor.args.clone(), [].into()),
        spawner: Arc::new(Drain::new()),
        state: Arc::new(Nobody),
        clock: Arc::new(TokioClock::new()),
        build: build_info(),
        shared: Shared::default(),
    }
}

struct Nobody;

impl ServerState for Nobody {
    fn is_draining(&self) -> bool {
        false
    }

    fn draining(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn set_status(&self, _: PluginStatus) {}
}

fn names(descriptor: &PluginDescriptor, found: &mut Vec<String>) {
    let id = descriptor.id;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if id.is_empty() || !id.chars().all(fits) || TAKEN.contains(&id) {
        found.push(format!("its id `{id}` is not lower case letters, digits, `-`, `_`, or is the server's"));
    }
    for (what, text) in [("name", descriptor.name), ("summary", descriptor.summary)] {
        if text.trim().is_empty() || text.contains('\n') {
            found.push(format!("its {what} is not one line of text"));
        }
    }
}

fn options(descriptor: &PluginDescriptor, found: &mut Vec<String>) {
    let (mut ids, mut known) = (BTreeSet::new(), BTreeSet::new());
    for spec in &descriptor.args {
        let id = spec.id;
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            found.push(format!("option `{id}` is not named in lower case with underscores"));
        }
        if !ids.insert(id) {
            found.push(format!("option `{id}` is there twice"));
        }
        for place in [spec.flag, spec.env, spec.yaml].into_iter().filter(|place| !place.is_empty()) {
            if !known.insert(place) {
                found.push(format!("option `{id}`: `{place}` is taken by another one"));
            }
        }
        places(descriptor.id, spec, found);
        if spec.description.trim().is_empty() || spec.description.contains('\n') {
            found.push(format!("option `{id}` does not say in one line what it means"));
        }
        for (what, text) in [("default", spec.default), ("example", spec.example)] {
            if !text.is_empty() && !suits(spec, text) {
                found.push(format!("option `{id}`: its {what} `{text}` is no {:?}", spec.kind));
            }
        }
    }
}

/// Configuration contract §3: one place of each kind, named after plugin and option.
fn places(plugin: &str, spec: &ArgSpec, found: &mut Vec<String>) {
    let id = spec.id;
    let under = format!("plugin_options.{plugin}.{id}");
    if !spec.yaml.is_empty() && spec.yaml != under {
        found.push(format!("option `{id}` is `{}` in YAML, not `{under}`", spec.yaml));
    }
    if !spec.flag.is_empty() && !spec.flag.starts_with("--") {
        found.push(format!("option `{id}`: flag `{}` does not begin with `--`", spec.flag));
    }
    let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !spec.env.chars().all(upper) {
        found.push(format!("option `{id}`: variable `{}` is not in upper case", spec.env));
    }
}

fn suits(spec: &ArgSpec, text: &str) -> bool {
    let values = [(spec.id.to_owned(), text.to_owned())].into();
    let options = PluginOptions::new(vec![spec.clone()], values);
    match spec.kind {
        ArgType::String => true,
        ArgType::Int => options.int(spec.id).is_ok(),
        ArgType::Bool => options.flag(spec.id).is_ok(),
        ArgType::Number => options.number(spec.id).is_ok(),
        ArgType::Duration => options.duration(spec.id).is_ok(),
    }
}

fn routes(plugin: &dyn Plugin, found: &mut Vec<String>) {
    let own = format!("/api/{}", plugin.id());
    let mut known = BTreeSet::new();
    for route in routes_of(plugin) {
        let (method, pattern) = (&route.method, &route.pattern);
        let below = |prefix: &str| {
            pattern.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if TAKEN.iter().any(|id| below(&format!("/api/{id}"))) {
            found.push(format!("{method} {pattern} is below a path of the server's own"));
        }
        let opens_elsewhere = route.access == Access::Open && !below(&own);
        if opens_elsewhere && !pattern.starts_with("/.well-known/") {
            found.push(format!("{method} {pattern} is open to anybody and not below {own}"));
        }
        if [Method::HEAD, Method::OPTIONS, Method::CONNECT, Method::TRACE].contains(method) {
            found.push(format!("{method} {pattern}: the server answers this method itself"));
        }
        if route.body_bytes_max == 0 {
            found.push(format!("{method} {pattern} takes no body, not even an empty one"));
        }
        if !known.insert((method.to_string(), pattern.clone())) {
            found.push(format!("{method} {pattern} is there twice"));
        }
    }
}

fn metrics(plugin: &dyn Plugin, found: &mut Vec<String>) {
    struct Named {
        registry: Registry,
        names: Vec<&'static str>,
    }
    impl MetricsRegistry for Named {
        fn register(&mut self, collector: Arc<dyn Collector>) -> Result<(), MetricsError> {
            self.names.extend(collector.collect().iter().map(|family| family.name));
            self.registry.register(collector)
        }
    }
    let mut named = Named { registry: Registry::default(), names: Vec::new() };
    if let Err(error) = plugin.register_metrics(&mut named) {
        found.push(format!("its metrics are refused: {error}"));
    }
    let own = format!("{}_", plugin.id().replace('-', "_"));
    let ours = ["nfrx_", "gen_ai_", &own];
    for name in named.names.iter().filter(|name| !ours.iter().any(|prefix| name.starts_with(prefix))) {
        found.push(format!("metric `{name}` begins with neither `nfrx_` nor `{own}`"));
    }
}

fn state(plugin: &dyn Plugin, found: &mut Vec<String>) {
    #[derive(Default)]
    struct Elements(Vec<Box<dyn StateElement>>);
    impl StateRegistry for Elements {
        fn add(&mut self, element: Box<dyn StateElement>) {
            self.0.push(element);
        }
    }
    let mut elements = Elements::default();
    plugin.register_state(&mut elements);
    let mut known = BTreeSet::new();
    for element in &elements.0 {
        let id = element.id();
        if !known.insert(id) {
            found.push(format!("state `{id}` is there twice"));
        }
        if !element.data().is_object() {
            found.push(format!("state `{id}` is not a JSON object"));
        }
        if element.html().is_some_and(|html| html.to_ascii_lowercase().contains("<script")) {
            found.push(format!("the view of state `{id}` holds a script"));
        }
    }
}
