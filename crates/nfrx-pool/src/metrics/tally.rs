//! Requests of plugins that have no pool, in the same series as those of pools.

use std::sync::Arc;
use std::time::Duration;

use super::{RequestMetrics, Series, Usage};

/// Whose request it is: the labels that are the same for all requests of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKind {
    /// The plugin.
    pub ext: &'static str,
    /// `worker` or `tunnel` (metrics contract §1); a plugin has one.
    pub plugin_type: &'static str,
    /// What is done, such as `mcp.call`.
    pub job_type: &'static str,
}

/// One request that was accepted. Whoever has it ends it, also when its client left.
pub struct RequestTally {
    metrics: Arc<RequestMetrics>,
    series: Arc<Series>,
    running: bool,
}

impl RequestMetrics {
    /// Counts a request as accepted. `label` must come from a bounded set.
    pub fn tally(self: &Arc<Self>, kind: RequestKind, label: &str) -> RequestTally {
        let series = self.series_of(kind, label);
        series.accepted();
        RequestTally { metrics: Arc::clone(self), series, running: false }
    }
}

impl RequestTally {
    /// It was given to a worker; counted once.
    pub fn started(&mut self) {
        if !std::mem::replace(&mut self.running, true) {
            self.series.started();
        }
    }

    /// The first byte of its answer's body came, so long after it was accepted.
    pub fn first_byte(&self, took: Duration) {
        self.series.first_byte.observe_duration(took);
    }

    /// It ended, so long after it was accepted. `error` is a code of a closed set, empty for
    /// success. Does nothing unless it was started.
    pub fn ended(&mut self, took: Duration, error: &'static str) {
        if std::mem::take(&mut self.running) {
            self.metrics.ended(&self.series, took, error, Usage::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use nfrx_spi::Collector;
    use nfrx_spi::metrics::SampleValue;

    use super::*;

    const KIND: RequestKind = RequestKind { ext: "mcp", plugin_type: "tunnel", job_type: "mcp.call" };

    fn value(metrics: &RequestMetrics, name: &str) -> Option<SampleValue> {
        let families = metrics.collect();
        let family = families.into_iter().find(|family| family.name == name)?;
        family.samples.into_iter().next().map(|sample| sample.value)
    }

    // Seen to fail: with the gauge lowered also for requests that were never started (KD-139).
    #[test]
    fn what_was_never_started_lowers_nothing() {
        let metrics = Arc::new(RequestMetrics::default());
        let mut refused = metrics.tally(KIND, "ping");
        refused.ended(Duration::ZERO, "too_many");
        let mut served = metrics.tally(KIND, "ping");
        served.started();
        served.started();
        assert_eq!(value(&metrics, "nfrx_request_inflight"), Some(SampleValue::Number(1.0)));
        served.ended(Duration::ZERO, "");
        served.ended(Duration::ZERO, "");
        assert_eq!(value(&metrics, "nfrx_request_inflight"), Some(SampleValue::Number(0.0)));
        assert_eq!(value(&metrics, "nfrx_request_total"), Some(SampleValue::Number(2.0)));
        assert_eq!(value(&metrics, "nfrx_request_completed_total"), Some(SampleValue::Number(1.0)));
    }
}
