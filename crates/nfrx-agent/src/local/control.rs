//! `/status`, `/version` and the control routes (worker protocol §9.6, §9.7).

use std::net::IpAddr;
use std::time::SystemTime;

use http::{Method, Request, StatusCode, header};
use nfrx_runtime::build_info;
use nfrx_spi::rfc3339;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::Order;
use super::serve::{Answer, Routes, content, empty, not_found};
use super::token::ControlToken;
use crate::{AgentStatus, StatusBoard};

/// The header in which the token is shown.
const TOKEN: &str = "x-auth-token";

/// What existing apps expect before the first heartbeat.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) struct StatusRoutes {
    board: StatusBoard,
    token: Option<ControlToken>,
    orders: mpsc::Sender<Order>,
}

impl StatusRoutes {
    /// Without a token the control routes refuse everybody.
    pub(super) fn new(board: StatusBoard, token: Option<ControlToken>, orders: mpsc::Sender<Order>) -> Self {
        Self { board, token, orders }
    }

    fn control(&self, request: &Request<()>, peer: IpAddr, order: Order) -> Answer {
        if let Err(status) = self.judge(request, peer) {
            warn!(%peer, status = status.as_u16(), ?order, "an order was refused");
            return empty(status);
        }
        info!(%peer, ?order, "ordered");
        match self.orders.try_send(order) {
            Ok(()) => empty(StatusCode::OK),
            // The agent is behind with orders, or ends already.
            Err(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// In the order of the contract: method, peer, token. A page's request is a stranger's.
    fn judge(&self, request: &Request<()>, peer: IpAddr) -> Result<(), StatusCode> {
        if request.method() != Method::POST {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !peer.is_loopback() || request.headers().contains_key(header::ORIGIN) {
            return Err(StatusCode::FORBIDDEN);
        }
        let shown = request.headers().get(TOKEN).map_or(&b""[..], |value| value.as_bytes());
        match &self.token {
            Some(token) if token.is(shown) => Ok(()),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }
}

impl Routes for StatusRoutes {
    fn answer(&self, request: &Request<()>, peer: IpAddr) -> Answer {
        match request.uri().path() {
            "/status" => line(&document(&self.board.watch().borrow())),
            "/version" => line(&version()),
            "/control/drain" => self.control(request, peer, Order::Drain),
            "/control/undrain" => self.control(request, peer, Order::Undrain),
            "/control/shutdown" => self.control(request, peer, Order::Shutdown),
            _ => not_found(),
        }
    }
}

fn line(value: &Value) -> Answer {
    content("application/json", format!("{value}\n"))
}

fn version() -> Value {
    let build = build_info();
    json!({ "Version": build.version, "BuildSHA": build.sha, "BuildDate": build.date })
}

fn document(status: &AgentStatus) -> Value {
    let beat = status.last_heartbeat.map_or_else(|| NEVER.to_owned(), |at: SystemTime| rfc3339(at));
    let mut document = json!({
        "state": status.state().as_str(),
        "connected_to_server": status.connected_to_server,
        "connected_to_backend": status.connected_to_backend,
        "current_jobs": status.current_jobs,
        "max_concurrency": status.offered_concurrency(),
        "last_error": status.last_error,
        "last_heartbeat": beat,
        "worker_id": status.worker_id,
        "worker_name": status.worker_name,
        "version": status.version,
    });
    // Left out when empty, as the contract has it.
    if !status.agent_config.is_empty() {
        document["agent_config"] = json!(status.agent_config);
    }
    if !status.labels.is_empty() {
        document["labels"] = json!(status.labels);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_fields_that_desktop_apps_read() {
        let fresh = document(&AgentStatus::default());
        let names: Vec<&str> = fresh.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "connected_to_backend",
                "connected_to_server",
                "current_jobs",
                "last_error",
                "last_heartbeat",
                "max_concurrency",
                "state",
                "version",
                "worker_id",
                "worker_name"
            ]
        );
        assert_eq!((&fresh["last_heartbeat"], &fresh["state"]), (&json!(NEVER), &json!("disconnected")));
        let known = AgentStatus {
            labels: vec!["phi".into()],
            agent_config: [("hostname".to_owned(), "den".to_owned())].into(),
            max_concurrency: 2,
            draining: true,
            ..AgentStatus::default()
        };
        let known = document(&known);
        assert_eq!((&known["labels"], &known["agent_config"]["hostname"]), (&json!(["phi"]), &json!("den")));
        assert_eq!(known["max_concurrency"], 0, "nothing is taken while it drains");
    }
}
