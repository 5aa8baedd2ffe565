//! What happens to the tunnels of a process, for metrics.

use nfrx_spi::metrics::{Counter, Gauge, Instrument, MetricFamily, Sample};
use nfrx_spi::{CloseReason, Collector};

/// Counts for all tunnels that share them; a [`Collector`].
#[derive(Debug, Default)]
pub struct TunnelCounters {
    /// Tunnels that stand, registered or not.
    pub open: Gauge,
    /// Tunnels that agents opened.
    pub opened: Counter,
    /// Tunnels that ended because the agent broke the protocol or its bounds.
    pub protocol_errors: Counter,
    /// Tunnels that ended since nothing came for too long.
    pub expired: Counter,
    /// Streams that the relay reset, mostly since their clients left.
    pub resets: Counter,
    /// Answers that were cut since nobody read them.
    pub readers_stalled: Counter,
    /// Answers that were cut since the process held too many unread bytes.
    pub over_budget: Counter,
}

impl TunnelCounters {
    pub(crate) fn closed(&self, reason: CloseReason) {
        match reason {
            CloseReason::ProtocolError => self.protocol_errors.inc(),
            CloseReason::Expired => self.expired.inc(),
            CloseReason::Replaced
            | CloseReason::ServerStopping
            | CloseReason::Disconnected
            | CloseReason::AgentLeft => {}
        }
    }
}

impl Collector for TunnelCounters {
    fn collect(&self) -> Vec<MetricFamily> {
        vec![
            family("nfrx_tunnels_open", "Tunnels that stand", &self.open),
            family("nfrx_tunnels_opened_total", "Tunnels opened by agents", &self.opened),
            family(
                "nfrx_tunnel_protocol_errors_total",
                "Tunnels ended by a protocol error",
                &self.protocol_errors,
            ),
            family("nfrx_tunnels_expired_total", "Tunnels ended by silence", &self.expired),
            family("nfrx_tunnel_stream_resets_total", "Streams that the relay reset", &self.resets),
            family(
                "nfrx_tunnel_readers_stalled_total",
                "Answers cut since nobody read them",
                &self.readers_stalled,
            ),
            family(
                "nfrx_tunnel_over_budget_total",
                "Answers cut since too much was unread in the process",
                &self.over_budget,
            ),
        ]
    }
}

fn family<I: Instrument>(name: &'static str, help: &'static str, instrument: &I) -> MetricFamily {
    let samples = vec![Sample { labels: Vec::new(), value: instrument.value() }];
    MetricFamily { name, help, kind: I::KIND, samples }
}
