//! How the server and each plugin are set, for the page: what may be set, where, and to
//! what it is set, secrets aside.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Request;
use nfrx_spi::{ArgSpec, Body, Operation, PluginOptions, RequestContext, Router};
use serde::Serialize;

use super::{json, object};
use crate::host::Host;

/// What stands for a secret that is set. Unlike at a plugin's root, nothing of it shows.
const SECRET: &str = "********";

/// The options of one part of the server.
#[derive(Serialize)]
struct Group {
    id: &'static str,
    name: &'static str,
    summary: &'static str,
    args: Vec<ArgSpec>,
    /// Values by the option's id.
    options: BTreeMap<&'static str, String>,
}

/// `GET /api/state/options`: an array of groups, the server's own first. A key for some
/// services sees the server's and theirs.
pub(super) fn routes(router: &mut Router, host: &Arc<Host>) {
    let own = group("server", "Server", "Listeners, login and limits.", host.own_options());
    let plugins = host.plugins().iter().map(|built| {
        let descriptor = built.plugin.descriptor();
        group(descriptor.id, descriptor.name, descriptor.summary, &built.options)
    });
    let groups: Arc<Vec<Group>> = Arc::new(std::iter::once(own).chain(plugins).collect());
    let shown = move |_: Request<Body>, context: RequestContext| {
        let scopes = &context.caller.scopes;
        let seen = groups.iter().filter(|group| group.id == "server" || scopes.allows_service(group.id));
        let response = json(&seen.collect::<Vec<_>>(), true);
        async move { Ok(response) }
    };
    let group = object(serde_json::json!({
        "id": { "type": "string" },
        "name": { "type": "string" },
        "summary": { "type": "string" },
        "args": { "type": "array" },
        "options": { "type": "object", "additionalProperties": { "type": "string" } },
    }));
    router.get("/api/state/options", shown).operation(Operation {
        summary: "Shows how the server and its plugins are set, secrets aside",
        response: Some(serde_json::json!({ "type": "array", "items": group })),
        ..Operation::default()
    });
}

fn group(id: &'static str, name: &'static str, summary: &'static str, options: &PluginOptions) -> Group {
    let value = |spec: &ArgSpec| {
        let text = options.text(spec.id);
        (spec.id, if spec.secret && !text.is_empty() { SECRET.to_owned() } else { text.to_owned() })
    };
    let values = options.specs().iter().map(value).collect();
    Group { id, name, summary, args: options.specs().to_vec(), options: values }
}
