//! What an agent serves on its own machine, for its operator: status and control at
//! `STATUS_ADDR`, metrics at `METRICS_PORT` (worker protocol §9.6, §9.8).

mod control;
mod metrics;
mod serve;
mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nfrx_runtime::Drain;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::StatusBoard;
use control::StatusRoutes;
use metrics::MetricsRoute;
use serve::{Routes, accept};
use token::ControlToken;

/// How long answers that are under way may take to leave when the agent ends.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Orders that wait for the agent to look; more are refused.
const ORDERS_MAX: usize = 8;

/// Where an agent listens for its operator.
#[derive(Debug, Clone, Default)]
pub struct LocalConfig {
    /// For status and control; `None` for nowhere.
    pub status: Option<SocketAddr>,
    /// For metrics; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where the token of the control routes may be: the first file that has one counts.
    /// When none has, one is made in the last. Without any there is no control.
    pub token_files: Vec<PathBuf>,
}

/// A local address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {addr} for {purpose}")]
pub struct ListenError {
    /// The address.
    pub addr: SocketAddr,
    /// What for: status or metrics.
    pub purpose: &'static str,
    /// Why.
    pub source: std::io::Error,
}

/// What the operator orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Take nothing new; end once nothing runs.
    Drain,
    /// Go on as before.
    Undrain,
    /// Drain and end, as after a signal.
    Shutdown,
}

/// The listeners, bound and not served yet.
#[derive(Default)]
pub(crate) struct Local {
    status: Option<TcpListener>,
    metrics: Option<TcpListener>,
    token: Option<ControlToken>,
}

/// The listeners, served.
pub(crate) struct Served {
    tasks: Drain,
    orders: mpsc::Receiver<Order>,
    /// Held so that without a listener the receiver waits instead of ending.
    _sender: mpsc::Sender<Order>,
}

impl Local {
    /// Opens the ports. A token that can't be had only closes the control routes (KD-50).
    pub(crate) async fn bind(config: &LocalConfig) -> Result<Self, ListenError> {
        let status = listen(config.status, "status").await?;
        let metrics = listen(config.metrics, "metrics").await?;
        let token = match &status {
            None => None,
            Some(_) => ControlToken::find_or_make(&config.token_files)
                .inspect_err(|error| warn!(%error, "without a token nobody can drain this agent"))
                .ok(),
        };
        Ok(Self { status, metrics, token })
    }

    pub(crate) fn status_addr(&self) -> Option<SocketAddr> {
        self.status.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    pub(crate) fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves what was bound.
    pub(crate) fn serve(self, board: &StatusBoard) -> Served {
        let tasks = Drain::new();
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        if let Some(listener) = self.status {
            let routes = StatusRoutes::new(board.clone(), self.token, sender.clone());
            start(&tasks, "status", listener, Arc::new(routes));
        }
        if let Some(listener) = self.metrics {
            start(&tasks, "metrics", listener, Arc::new(MetricsRoute::new(board.clone())));
        }
        Served { tasks, orders, _sender: sender }
    }
}

impl Served {
    /// The next order.
    pub(crate) async fn order(&mut self) -> Order {
        match self.orders.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }

    /// Lets answers that are under way leave, and closes.
    pub(crate) async fn close(self) {
        self.tasks.finish(Some(CLOSE_MAX)).await;
    }
}

fn start(tasks: &Drain, purpose: &'static str, listener: TcpListener, routes: Arc<dyn Routes>) {
    if let Ok(addr) = listener.local_addr() {
        info!(%addr, purpose, "listening");
    }
    tasks.spawn(purpose, accept(listener, routes, tasks.watch()));
}

async fn listen(addr: Option<SocketAddr>, purpose: &'static str) -> Result<Option<TcpListener>, ListenError> {
    let Some(addr) = addr else { return Ok(None) };
    let bound = TcpListener::bind(addr).await;
    bound.map(Some).map_err(|source| ListenError { addr, purpose, source })
}
