//! `GET /metrics` of an agent: open to this machine and private networks, as the server's.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use nfrx_runtime::ProcessMetrics;
use nfrx_runtime::address::is_private;
use nfrx_runtime::metrics_text::{CONTENT_TYPE, Registry};
use nfrx_spi::metrics::{MetricFamily, MetricKind, Sample, SampleValue};
use nfrx_spi::{Collector, MetricsRegistry as _};

use super::serve::{Answer, Routes, content, empty, not_found, text};
use crate::StatusBoard;

pub(super) struct MetricsRoute {
    registry: Registry,
}

impl MetricsRoute {
    pub(super) fn new(board: StatusBoard) -> Self {
        let mut registry = Registry::default();
        let collectors: [Arc<dyn Collector>; 3] = [
            Arc::clone(board.link_failures()) as Arc<dyn Collector>,
            Arc::new(WorkerMetrics { board }),
            Arc::new(ProcessMetrics::new()),
        ];
        for collector in collectors {
            // The names are ours and differ.
            let _ = registry.register(collector);
        }
        Self { registry }
    }
}

impl Routes for MetricsRoute {
    fn answer(&self, request: &Request<()>, peer: IpAddr) -> Answer {
        if request.uri().path() != "/metrics" {
            return not_found();
        }
        if !is_private(peer) {
            return text(StatusCode::FORBIDDEN, "metrics are for private networks only\n");
        }
        match *request.method() {
            Method::GET | Method::HEAD => content(CONTENT_TYPE, self.registry.text()),
            _ => empty(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

/// The series of metrics contract §2, read from the status board.
struct WorkerMetrics {
    board: StatusBoard,
}

impl Collector for WorkerMetrics {
    fn collect(&self) -> Vec<MetricFamily> {
        let status = self.board.watch().borrow().clone();
        let gauge = |name, help, value| family(name, help, MetricKind::Gauge, SampleValue::Number(value));
        let mut families = vec![
            gauge(
                "nfrx_worker_connected_to_server",
                "whether the tunnel stands",
                f64::from(u8::from(status.connected_to_server)),
            ),
            gauge(
                "nfrx_worker_connected_to_backend",
                "whether the last probe succeeded",
                f64::from(u8::from(status.connected_to_backend)),
            ),
            gauge("nfrx_worker_current_jobs", "requests at the backend", f64::from(status.current_jobs)),
            gauge(
                "nfrx_worker_max_concurrency",
                "requests that are offered to be taken at once",
                f64::from(status.offered_concurrency()),
            ),
        ];
        let jobs = self.board.jobs().values();
        families.extend(jobs.map(|(name, help, kind, value)| family(name, help, kind, value)));
        families
    }
}

fn family(name: &'static str, help: &'static str, kind: MetricKind, value: SampleValue) -> MetricFamily {
    MetricFamily { name, help, kind, samples: vec![Sample { labels: Vec::new(), value }] }
}
