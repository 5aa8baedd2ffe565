//! What happens to the tunnels of a process, for metrics.

use std::io;
use std::sync::Arc;

use nfrx_spi::Collector;
use nfrx_spi::metrics::{Counter, Family, Gauge, Instrument, MetricFamily, Sample};

/// Tunnels that a peer floods with frames or messages, those whose message is too large, and those
/// that fail for reasons of their own.
pub(crate) const FLOOD: &str = "flood";
pub(crate) const MESSAGE_BYTES: &str = "message_bytes";
pub(crate) const BROKEN: &str = "broken";

/// Why tunnels end.
const REASONS: [&str; 12] = [
    "replaced",
    "expired",
    "server_stopping",
    "disconnected",
    "protocol_error",
    "agent_left",
    "unauthorized",
    BROKEN,
    "refused",
    "unregistered",
    FLOOD,
    MESSAGE_BYTES,
];

/// More reasons than these are a mistake of ours.
const REASONS_MAX: usize = 16;

/// Counts for all tunnels that share them; a [`Collector`].
pub struct TunnelCounters {
    /// Tunnels that stand, registered or not.
    pub open: Gauge,
    /// Requests that are in tunnels.
    pub streams_open: Gauge,
    /// Bytes of answers that came through.
    pub bytes_in: Counter,
    /// Bytes of requests' bodies that went out.
    pub bytes_out: Counter,
    /// Streams that we reset, mostly since their clients left.
    pub resets: Counter,
    /// Answers that were cut since nobody read them.
    pub readers_stalled: Counter,
    /// Answers that were cut since too many bytes were unread in all.
    pub over_budget: Counter,
    closed: Family<Counter, 1>,
}

impl Default for TunnelCounters {
    fn default() -> Self {
        let closed = Family::new(
            "nfrx_tunnel_closed_total",
            "Tunnels that ended, by reason",
            ["reason"],
            REASONS_MAX,
            Counter::default,
        );
        closed.begin_at_zero(REASONS.map(|reason| [reason]));
        Self {
            open: Gauge::default(),
            streams_open: Gauge::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            resets: Counter::default(),
            readers_stalled: Counter::default(),
            over_budget: Counter::default(),
            closed,
        }
    }
}

impl TunnelCounters {
    /// Tunnels that ended for this reason: a [`nfrx_spi::CloseReason`] in lower case, or
    /// `broken`, `refused`, `unregistered`, `flood`, `message_bytes`.
    pub fn closed(&self, reason: &str) -> Arc<Counter> {
        self.closed.with([reason])
    }
}

/// The reason of a tunnel that ended since its connection failed, at either end.
pub(crate) fn why_failed(error: &h2::Error) -> &'static str {
    let is_ours = error.is_go_away() && error.is_library();
    match error.get_io().map(io::Error::kind) {
        Some(io::ErrorKind::QuotaExceeded) => FLOOD,
        Some(io::ErrorKind::FileTooLarge) => MESSAGE_BYTES,
        None if is_ours && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) => FLOOD,
        _ => BROKEN,
    }
}

impl Collector for TunnelCounters {
    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = vec![
            family("nfrx_tunnel_open", "Tunnels that stand", &self.open),
            family("nfrx_tunnel_streams_open", "Requests that are in tunnels", &self.streams_open),
            family("nfrx_tunnel_received_bytes_total", "Bytes of answers from agents", &self.bytes_in),
            family("nfrx_tunnel_sent_bytes_total", "Bytes of request bodies to agents", &self.bytes_out),
            family("nfrx_tunnel_stream_resets_total", "Streams that the relay reset", &self.resets),
            family(
                "nfrx_tunnel_readers_stalled_total",
                "Answers cut since nobody read them",
                &self.readers_stalled,
            ),
            family(
                "nfrx_tunnel_over_budget_total",
                "Answers cut since too much was unread in all",
                &self.over_budget,
            ),
        ];
        families.extend(self.closed.collect());
        families
    }
}

fn family<I: Instrument>(name: &'static str, help: &'static str, instrument: &I) -> MetricFamily {
    let samples = vec![Sample { labels: Vec::new(), value: instrument.value() }];
    MetricFamily { name, help, kind: I::KIND, samples }
}

/// Counts one up for as long as it lives.
pub(crate) struct Counted<F: Fn(&TunnelCounters) -> &Gauge> {
    counters: Arc<TunnelCounters>,
    gauge: F,
}

impl<F: Fn(&TunnelCounters) -> &Gauge> Counted<F> {
    pub(crate) fn new(counters: &Arc<TunnelCounters>, gauge: F) -> Self {
        gauge(counters).add(1);
        Self { counters: Arc::clone(counters), gauge }
    }
}

impl<F: Fn(&TunnelCounters) -> &Gauge> Drop for Counted<F> {
    fn drop(&mut self) {
        (self.gauge)(&self.counters).add(-1);
    }
}
