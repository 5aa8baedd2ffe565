//! Whether the process lives, and whether it can serve (KD-27).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Request, StatusCode};
use nfrx_spi::{Body, PluginStatus, RequestContext, Router};
use serde::Serialize;

use super::json;
use crate::host::Host;

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    plugins: BTreeMap<&'static str, &'static str>,
}

pub(super) fn routes(router: &mut Router, host: &Arc<Host>) {
    router.get("/healthz", |_: Request<Body>, _: RequestContext| async {
        Ok(json(&serde_json::json!({ "status": "ok" }), false))
    });
    let host = Arc::clone(host);
    router.get("/readyz", move |_: Request<Body>, _: RequestContext| {
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
