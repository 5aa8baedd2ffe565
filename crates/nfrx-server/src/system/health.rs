//! Whether the process lives, and whether it can serve (KD-27).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Request, StatusCode};
use nfrx_spi::{Body, Operation, PluginStatus, RequestContext, Router};
use serde::Serialize;

use super::{json, object};
use crate::host::Host;

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    plugins: BTreeMap<&'static str, &'static str>,
}

pub(super) fn routes(router: &mut Router, host: &Arc<Host>) {
    let lives = |_: Request<Body>, _: RequestContext| async {
        Ok(json(&serde_json::json!({ "status": "ok" }), false))
    };
    router.get("/healthz", lives).operation(Operation {
        summary: "Says that the process lives",
        response: Some(object(serde_json::json!({ "status": { "const": "ok" } }))),
        ..Operation::default()
    });
    let host = Arc::clone(host);
    let ready = move |_: Request<Body>, _: RequestContext| {
        let statuses = host.statuses();
        async move {
            let status = overall(&statuses);
            let plugins = statuses.into_iter().map(|(id, status)| (id, status.as_str())).collect();
            let mut response = json(&Readiness { status: status.as_str(), plugins }, false);
            if status != PluginStatus::Ready {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok(response)
        }
    };
    let readiness = serde_json::json!({
        "status": { "type": "string" },
        "plugins": { "type": "object", "additionalProperties": { "type": "string" } },
    });
    router.get("/readyz", ready).operation(Operation {
        summary: "Says whether a plugin can serve; 503 with the same body when none can",
        response: Some(object(readiness)),
        // That body is no error of any form.
        passes_errors: true,
        ..Operation::default()
    });
}

/// Ready when at least one plugin is: the others' clients are told by their own routes.
fn overall(statuses: &BTreeMap<&'static str, PluginStatus>) -> PluginStatus {
    if statuses.values().any(|status| *status == PluginStatus::Draining) {
        PluginStatus::Draining
    } else if statuses.values().any(|status| *status == PluginStatus::Ready) {
        PluginStatus::Ready
    } else {
        PluginStatus::NotReady
    }
}
