//! The series that only language models have (metrics contract §1): tokens, requests and
//! embeddings by model and by worker. The pool moves them.

use std::time::Duration;

use nfrx_spi::metrics::{Counter, Family, Histogram, MetricFamily, SECONDS, SecondsCounter};
use nfrx_spi::{Collector, Metrics, TokenKind, WorkerStatus};

/// How many models, and how many workers, have series of their own.
const SERIES_MAX: usize = 1024;

/// See the module.
pub(super) struct LlmMetrics {
    model_requests: Family<Counter, 2>,
    model_tokens: Family<Counter, 2>,
    model_embeddings: Family<Counter, 1>,
    worker_tokens: Family<Counter, 2>,
    worker_processing: Family<SecondsCounter, 1>,
    worker_embeddings: Family<Counter, 1>,
    worker_embedding_processing: Family<SecondsCounter, 1>,
    durations: Family<Histogram, 2>,
}

impl Default for LlmMetrics {
    fn default() -> Self {
        Self {
            model_requests: counter("nfrx_llm_model_requests_total", "Ended requests.", ["model", "outcome"]),
            model_tokens: counter("nfrx_llm_model_tokens_total", "Tokens by model.", ["kind", "model"]),
            model_embeddings: counter("nfrx_llm_model_embeddings_total", "Inputs embedded.", ["model"]),
            worker_tokens: counter(
                "nfrx_llm_worker_tokens_total",
                "Tokens by worker.",
                ["worker_id", "kind"],
            ),
            worker_processing: seconds(
                "nfrx_llm_worker_processing_seconds_total",
                "Time that requests were with a worker.",
            ),
            worker_embeddings: counter(
                "nfrx_llm_worker_embeddings_total",
                "Inputs embedded by a worker.",
                ["worker_id"],
            ),
            worker_embedding_processing: seconds(
                "nfrx_llm_worker_embedding_processing_seconds_total",
                "Time that embeddings were with a worker.",
            ),
            durations: Family::new(
                "nfrx_llm_request_duration_seconds",
                "Time that a request was with its worker.",
                ["worker_id", "model"],
                SERIES_MAX,
                || Histogram::new(SECONDS),
            ),
        }
    }
}

fn counter<const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
) -> Family<Counter, N> {
    Family::new(name, help, labels, SERIES_MAX, Counter::default)
}

fn seconds(name: &'static str, help: &'static str) -> Family<SecondsCounter, 1> {
    Family::new(name, help, ["worker_id"], SERIES_MAX, SecondsCounter::default)
}

impl Metrics for LlmMetrics {
    fn set_worker_status(&self, worker_id: &str, status: WorkerStatus) {
        if status != WorkerStatus::Gone {
            return;
        }
        // Ids are random by default: series of workers that left would pile up.
        self.worker_tokens.retain(|labels| labels[0] != worker_id);
        self.worker_processing.retain(|labels| labels[0] != worker_id);
        self.worker_embeddings.retain(|labels| labels[0] != worker_id);
        self.worker_embedding_processing.retain(|labels| labels[0] != worker_id);
        self.durations.retain(|labels| labels[0] != worker_id);
    }

    fn observe_request_duration(&self, worker_id: &str, model: &str, took: Duration) {
        self.durations.with([worker_id, model]).observe_duration(took);
    }

    fn record_worker_processing_time(&self, worker_id: &str, took: Duration) {
        self.worker_processing.with([worker_id]).add(took);
    }

    fn record_worker_tokens(&self, worker_id: &str, kind: TokenKind, count: u64) {
        self.worker_tokens.with([worker_id, kind.as_str()]).add(count);
    }

    fn record_model_tokens(&self, model: &str, kind: TokenKind, count: u64) {
        self.model_tokens.with([kind.as_str(), model]).add(count);
    }

    fn record_model_request(&self, model: &str, success: bool) {
        self.model_requests.with([model, if success { "success" } else { "error" }]).inc();
    }

    fn record_model_embeddings(&self, model: &str, count: u64) {
        self.model_embeddings.with([model]).add(count);
    }

    fn record_worker_embeddings(&self, worker_id: &str, count: u64) {
        self.worker_embeddings.with([worker_id]).add(count);
    }

    fn record_worker_embedding_processing_time(&self, worker_id: &str, took: Duration) {
        self.worker_embedding_processing.with([worker_id]).add(took);
    }
}

impl Collector for LlmMetrics {
    fn collect(&self) -> Vec<MetricFamily> {
        let families: [&dyn Collector; 8] = [
            &self.model_requests,
            &self.model_tokens,
            &self.model_embeddings,
            &self.worker_tokens,
            &self.worker_processing,
            &self.worker_embeddings,
            &self.worker_embedding_processing,
            &self.durations,
        ];
        families.iter().flat_map(|family| family.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metrics: &LlmMetrics, name: &str) -> usize {
        metrics.collect().iter().find(|family| family.name == name).map_or(0, |family| family.samples.len())
    }

    #[test]
    fn a_worker_that_left_leaves_no_series_and_its_models_stay() {
        let metrics = LlmMetrics::default();
        for worker in ["a", "b"] {
            metrics.record_worker_tokens(worker, TokenKind::Out, 7);
            metrics.observe_request_duration(worker, "phi", Duration::from_secs(1));
            metrics.record_worker_processing_time(worker, Duration::from_millis(1500));
        }
        metrics.record_model_tokens("phi", TokenKind::Out, 14);
        metrics.set_worker_status("a", WorkerStatus::Working);
        assert_eq!(series(&metrics, "nfrx_llm_worker_tokens_total"), 2);
        metrics.set_worker_status("a", WorkerStatus::Gone);
        // Seen to fail: without the removal.
        for name in [
            "nfrx_llm_worker_tokens_total",
            "nfrx_llm_request_duration_seconds",
            "nfrx_llm_worker_processing_seconds_total",
            "nfrx_llm_model_tokens_total",
        ] {
            assert_eq!(series(&metrics, name), 1, "{name}");
        }
    }
}
