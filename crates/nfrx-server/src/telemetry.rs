//! What the server itself measures.

pub(crate) use std::sync::Arc;

use http::StatusCode;
use nfrx_runtime::ProcessMetrics;
use nfrx_runtime::metrics_text::Registry;
use nfrx_spi::metrics::{Counter, Family, Gauge, MetricFamily, MetricKind, Sample, SampleValue};
use nfrx_spi::{BuildInfo, Collector, MetricsError, MetricsRegistry as _};

/// Why the front door said no. A bound without a reason here is not a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Too many connections in all.
    Connections,
    /// Too many connections from one address.
    ConnectionsPerAddress,
    /// The request's head took too long.
    HeadTime,
    /// The connection rested for too long.
    Idle,
    /// The client took nothing for too long.
    WriteStall,
    /// 431.
    HeadBytes,
    /// 414.
    UriBytes,
    /// 413.
    BodyBytes,
    /// 408: the body was silent for too long.
    BodySilence,
    /// 401.
    Login,
    /// 429.
    LoginRate,
    /// 403: a page of another site.
    Origin,
    /// 429: the tunnels of one key.
    KeyTunnels,
    /// 503: draining.
    Draining,
    /// 503: too many watch the state.
    Watchers,
    /// One session of a browser too many: the oldest ended.
    Sessions,
    /// 400: no HTTP, or a framing that two readers could read differently.
    Malformed,
    /// More frames of HTTP/2 than there was work: the connection ended.
    Http2Flood,
    /// Streams of HTTP/2 that became no request: too many at once, broken, or reset before
    /// anybody looked.
    Http2Streams,
}

impl Bound {
    /// All of them, as they are served from the start.
    pub(crate) const ALL: [Self; 19] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::HeadTime,
        Self::Idle,
        Self::WriteStall,
        Self::HeadBytes,
        Self::UriBytes,
        Self::BodyBytes,
        Self::BodySilence,
        Self::Login,
        Self::LoginRate,
        Self::Origin,
        Self::KeyTunnels,
        Self::Draining,
        Self::Watchers,
        Self::Sessions,
        Self::Malformed,
        Self::Http2Flood,
        Self::Http2Streams,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::HeadTime => "head_time",
            Self::Idle => "idle",
            Self::WriteStall => "write_stall",
            Self::HeadBytes => "head_bytes",
            Self::UriBytes => "uri_bytes",
            Self::BodyBytes => "body_bytes",
            Self::BodySilence => "body_silence",
            Self::Login => "login",
            Self::LoginRate => "login_rate",
            Self::Origin => "origin",
            Self::KeyTunnels => "key_tunnels",
            Self::Draining => "draining",
            Self::Watchers => "watchers",
            Self::Sessions => "sessions",
            Self::Malformed => "malformed",
            Self::Http2Flood => "http2_flood",
            Self::Http2Streams => "http2_streams",
        }
    }
}

/// The server's own instruments.
pub(crate) struct Telemetry {
    /// Open connections, taken-over ones included.
    pub(crate) connections: Arc<Family<Gauge, 0>>,
    accepted: Arc<Family<Counter, 0>>,
    refused: Arc<Family<Counter, 1>>,
    requests: Arc<Family<Counter, 1>>,
    /// Handlers that panicked.
    panics: Arc<Family<Counter, 0>>,
    /// Those who watch the state.
    pub(crate) watchers: Arc<Family<Gauge, 0>>,
    sessions: Arc<Family<Gauge, 0>>,
    /// Spans that no collector got.
    pub(crate) spans_dropped: Arc<Family<Counter, 0>>,
}

impl Telemetry {
    /// Registers everything.
    pub(crate) fn new(registry: &mut Registry, build: BuildInfo) -> Result<Self, MetricsError> {
        let telemetry = Self {
            connections: gauge("nfrx_server_connections", "open connections"),
            accepted: counter("nfrx_server_connections_total", "connections accepted", []),
            refused: Arc::new(Family::new(
                "nfrx_server_refused_total",
                "what a bound or the login refused",
                ["reason"],
                Bound::ALL.len(),
                Counter::default,
            )),
            requests: counter("nfrx_server_requests_total", "answers by class of their status", ["class"]),
            panics: counter("nfrx_server_panics_total", "handlers that panicked", []),
            watchers: gauge("nfrx_server_state_watchers", "open streams of the state"),
            spans_dropped: counter("nfrx_trace_spans_dropped_total", "spans that no collector got", []),
            sessions: gauge("nfrx_server_sessions", "sessions of browsers"),
        };
        telemetry.refused.begin_at_zero(Bound::ALL.map(|bound| [bound.label()]));
        telemetry.accepted.with([]);
        telemetry.panics.with([]);
        telemetry.spans_dropped.with([]);
        telemetry.watchers.with([]);
        telemetry.sessions.with([]);
        registry.register(Arc::new(Build(build)))?;
        registry.register(Arc::clone(&telemetry.connections) as Arc<dyn Collector>)?;
        registry.register(Arc::clone(&telemetry.accepted) as Arc<dyn Collector>)?;
        registry.register(Arc::clone(&telemetry.refused) as Arc<dyn Collector>)?;
        registry.register(Arc::clone(&telemetry.requests) as Arc<dyn Collector>)?;
        registry.register(Arc::clone(&telemetry.panics) as Arc<dyn Collector>)?;
        registry.register(Arc::clone(&telemetry.watchers) as Arc<dyn Collector>)?;
        registry.register(Arc::clone(&telemetry.sessions) as Arc<dyn Collector>)?;
        registry.register(Arc::clone(&telemetry.spans_dropped) as Arc<dyn Collector>)?;
        registry.register(Arc::new(ProcessMetrics::new()))?;
        Ok(telemetry)
    }

    pub(crate) fn refuse(&self, bound: Bound) {
        self.refuse_many(bound, 1);
    }

    pub(crate) fn refuse_many(&self, bound: Bound, count: u64) {
        self.refused.with([bound.label()]).add(count);
    }

    pub(crate) fn accept(&self) {
        self.accepted.with([]).inc();
    }

    pub(crate) fn sessions(&self, count: usize) {
        self.sessions.with([]).set(count as i64);
    }

    pub(crate) fn panicked(&self) {
        self.panics.with([]).inc();
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let class = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.with([class]).inc();
    }
}

fn gauge(name: &'static str, help: &'static str) -> Arc<Family<Gauge, 0>> {
    Arc::new(Family::new(name, help, [], 1, Gauge::default))
}

fn counter<const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
) -> Arc<Family<Counter, N>> {
    Arc::new(Family::new(name, help, labels, 16, Counter::default))
}

/// `nfrx_server_build_info` (metrics contract §1).
struct Build(BuildInfo);

impl Collector for Build {
    fn collect(&self) -> Vec<MetricFamily> {
        let labels = [
            ("component", "server"),
            ("date", self.0.date),
            ("sha", self.0.sha),
            ("version", self.0.version),
        ];
        let labels = labels.map(|(name, value)| (name, value.to_owned())).to_vec();
        let samples = vec![Sample { labels, value: SampleValue::Number(1.0) }];
        vec![MetricFamily {
            name: "nfrx_server_build_info",
            help: "what was built",
            kind: MetricKind::Gauge,
            samples,
        }]
    }
}
