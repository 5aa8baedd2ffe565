//! `nfrx server`: the public server.

use anyhow::Context;
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::signals;
use nfrx_server::{DEAD_KEYS, Server, ServerConfig, core_specs};
use nfrx_spi::{ArgSpec, ArgType};

use super::CommandName;
use crate::{plugins, state_dir};

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    let mut specs = core_specs();
    specs.push(
        ArgSpec::new("threads", ArgType::Int, "threads that serve; 1 costs least for each request")
            .from("--threads", "THREADS", "threads")
            .default("1"),
    );
    catalogue.add(CommandName::Server.text(), specs).dead_keys(DEAD_KEYS);
    for factory in plugins::all() {
        let descriptor = factory.descriptor();
        catalogue.add(descriptor.id, descriptor.args);
    }
    catalogue
}

/// Runs the server, unless its settings are only to be checked.
pub(super) fn run(loaded: &Loaded, check: bool) -> anyhow::Result<()> {
    let factories = plugins::all();
    let ids: Vec<&str> = factories.iter().map(|factory| factory.descriptor().id).collect();
    let mut config = ServerConfig::from_options(loaded, CommandName::Server.text(), &ids)?;
    // Without one, what should be remembered over a restart is not.
    config.state_dir = state_dir::path().ok();
    let threads = loaded.group(CommandName::Server.text()).int("threads")?;
    let threads = usize::try_from(threads).ok().filter(|count| (1..=256).contains(count));
    super::runtime(threads.context("`--threads` must be from 1 to 256")?)?.block_on(async {
        if check {
            return Ok(Server::check(&config, &factories)?);
        }
        nfrx_runtime::raise_file_limit();
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let server = Server::bind(config, factories).await?; // The port is ours, nobody is served.
        let addr = server.addr().context("the server has a port")?;
        tracing::info!(%addr, "ready");
        server.serve(stop, cut).await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nfrx_testkit::http::{HttpClient, get};
    use serde_json::Value;

    use super::*;

    /// Every `$ref` in the value.
    fn refs<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|inner| refs(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|item| refs(item, found)),
            _ => {}
        }
    }

    #[tokio::test]
    async fn the_document_has_every_route_of_every_plugin_and_no_loose_end() {
        let server = Server::in_memory(ServerConfig::local(), plugins::all()).expect("a valid configuration");
        let served: BTreeSet<_> = server
            .served()
            .iter()
            .map(|(method, pattern)| (pattern.replace("{*", "{"), method.as_str().to_ascii_lowercase()))
            .collect();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        server.door().open(theirs, ([127, 0, 0, 1], 1).into());
        let mut client = HttpClient::over(ours).await.expect("the server listens");
        let answer = client.ask(get("/api/client/openapi.json", None)).await.expect("an answer");
        let document = answer.json();
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("methods").keys();
                methods.map(|method| (path.clone(), method.clone()))
            })
            .collect();
        // Seen to fail: when the document is made before the last routes are there.
        assert_eq!(described, served);
        for plugin in plugins::all() {
            let root = format!("/api/{}", plugin.descriptor().id);
            assert!(served.iter().any(|(path, _)| path.starts_with(&root)), "{root} is served");
        }
        let mut found = Vec::new();
        refs(&document, &mut found);
        assert!(!found.is_empty());
        for pointer in found {
            let place = pointer.strip_prefix('#').and_then(|place| document.pointer(place));
            assert!(place.is_some(), "{pointer} points nowhere");
        }
    }
}
