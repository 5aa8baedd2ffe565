//! The contract of plugins: ours keep it, and each way to break it is found.

use std::sync::Arc;

use http::{Method, Request, Response};
use nfrx_asr::AsrFactory;
use nfrx_docling::DoclingFactory;
use nfrx_llm::LlmFactory;
use nfrx_spi::metrics::{Counter, Family};
use nfrx_spi::{
    Access, ArgSpec, ArgType, Body, HandlerResult, MetricsError, MetricsRegistry, OptionError, Plugin,
    PluginContext, PluginDescriptor, PluginFactory, RequestContext, Router, StateElement, StateRegistry,
};
use nfrx_testkit::contract;
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn llm_asr_and_docling_keep_the_contract() {
    contract::check(|| Box::new(LlmFactory)).await;
    contract::check(|| Box::new(AsrFactory)).await;
    contract::check(|| Box::new(DoclingFactory)).await;
}

/// A plugin with one mistake.
#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    None,
    Id,
    Descriptor,
    OptionName,
    OptionPlace,
    OptionDefault,
    Route,
    OpenMount,
    MetricName,
    MetricTwice,
    StateText,
    StateScript,
    StateHostile,
}

#[derive(Clone, Copy)]
struct Odd(Mistake);

impl PluginFactory for Odd {
    fn descriptor(&self) -> PluginDescriptor {
        let mut arg = ArgSpec::new("size", ArgType::Int, "how large").from(
            "--odd-size",
            "ODD_SIZE",
            "plugin_options.odd.size",
        );
        arg.default = "1";
        match self.0 {
            Mistake::OptionName => arg.id = "Size",
            Mistake::OptionPlace => arg.yaml = "size",
            Mistake::OptionDefault => arg.default = "one",
            _ => {}
        }
        PluginDescriptor {
            id: if self.0 == Mistake::Id { "Odd!" } else { "odd" },
            name: "Odd",
            summary: "s",
            args: vec![arg],
        }
    }

    fn build(&self, _: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
        Ok(Arc::new(*self))
    }
}

async fn answer(_: Request<Body>, _: RequestContext) -> HandlerResult {
    Ok(Response::new(Body::empty()))
}

impl Plugin for Odd {
    fn id(&self) -> &'static str {
        PluginFactory::descriptor(self).id
    }

    fn descriptor(&self) -> PluginDescriptor {
        let mut descriptor = PluginFactory::descriptor(self);
        if self.0 == Mistake::Descriptor {
            descriptor.summary = "another";
        }
        descriptor
    }

    fn register_routes(&self, router: &mut Router) {
        router.get("/thing/{id}", answer);
        match self.0 {
            Mistake::Route => {
                router.handle(Method::HEAD, "/thing", answer);
            }
            Mistake::OpenMount => router.mount("/elsewhere", |mount| {
                mount.get("", answer).access(Access::Open);
            }),
            _ => {}
        }
    }

    fn register_metrics(&self, metrics: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        let name = if self.0 == Mistake::MetricName { "things_total" } else { "odd_things_total" };
        let family = || Arc::new(Family::new(name, "things", [], 1, Counter::default));
        metrics.register(family())?;
        if self.0 == Mistake::MetricTwice { metrics.register(family()) } else { Ok(()) }
    }

    fn register_state(&self, state: &mut dyn StateRegistry) {
        state.add(Box::new(*self));
    }
}

impl StateElement for Odd {
    fn id(&self) -> &'static str {
        "odd"
    }

    fn data(&self) -> Value {
        if self.0 == Mistake::StateText { json!("text") } else { json!({}) }
    }

    fn html(&self) -> Option<String> {
        let html = match self.0 {
            Mistake::StateScript => "<SCRIPT>",
            // As a view does that puts an agent's name where HTML stands.
            Mistake::StateHostile => "<b><img src=x onerror=alert(1)></b>",
            _ => "<p>odd</p>",
        };
        Some(html.to_owned())
    }
}

#[track_caller]
fn check(found: &[String], part: &str) {
    assert!(found.len() == 1 && found[0].contains(part), "wanted one sentence with `{part}`: {found:?}");
}

#[tokio::test(start_paused = true)]
async fn each_mistake_is_found_and_named() {
    contract::check(|| Box::new(Odd(Mistake::None))).await;
    for (mistake, part) in [
        (Mistake::Id, "its id `Odd!`"),
        (Mistake::Descriptor, "other than its factory"),
        (Mistake::OptionName, "`Size` is not named"),
        (Mistake::OptionPlace, "not `plugin_options.odd.size`"),
        (Mistake::OptionDefault, "default `one` is no Int"),
        (Mistake::Route, "HEAD /api/odd/thing"),
        (Mistake::OpenMount, "GET /elsewhere is open to anybody"),
        (Mistake::MetricName, "`things_total`"),
        (Mistake::MetricTwice, "registered already"),
        (Mistake::StateText, "not a JSON object"),
        (Mistake::StateScript, "holds a script"),
        (Mistake::StateHostile, "what an agent said"),
    ] {
        let found = contract::violations(|| Box::new(Odd(mistake))).await;
        match mistake {
            // Its place in YAML is named after it, too.
            Mistake::OptionName => assert!(found[0].contains(part), "{found:?}"),
            Mistake::Id => assert!(found.iter().any(|line| line.contains(part)), "{found:?}"),
            _ => check(&found, part),
        }
    }
}
