//! OpenTelemetry's names for generative AI, beside ours: the same series read under other
//! names, so a request costs nothing more.

use std::sync::Arc;

use nfrx_pool::RequestMetrics;
use nfrx_spi::Collector;
use nfrx_spi::metrics::{MetricFamily, Sample};

/// Our name, OpenTelemetry's as Prometheus writes it, and what it says.
const NAMES: [(&str, &str, &str); 3] = [
    (
        "nfrx_request_duration_seconds",
        "gen_ai_server_request_duration_seconds",
        "From acceptance to the answer's end.",
    ),
    (
        "nfrx_time_to_first_byte_seconds",
        "gen_ai_server_time_to_first_token_seconds",
        "From acceptance to the first byte of the answer.",
    ),
    (
        "nfrx_time_per_output_chunk_seconds",
        "gen_ai_server_time_per_output_token_seconds",
        "Between two pieces of a streamed answer.",
    ),
];

/// See the module.
pub(super) struct GenAi(pub(super) Arc<RequestMetrics>);

impl Collector for GenAi {
    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let renamed = NAMES.iter().map(|(ours, theirs, help)| {
            let at = families.iter().position(|family| family.name == *ours);
            let samples = at.map(|at| std::mem::take(&mut families[at].samples)).unwrap_or_default();
            let kind = nfrx_spi::metrics::MetricKind::Histogram;
            MetricFamily {
                name: theirs,
                help,
                kind,
                samples: samples.into_iter().filter_map(sample).collect(),
            }
        });
        renamed.collect()
    }
}

/// A series of language models under OpenTelemetry's labels; `None` for other plugins'.
fn sample(Sample { labels, value }: Sample) -> Option<Sample> {
    let label = |wanted| labels.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let operation = match (label("ext")?, label("job_type")?) {
        (super::ID, "llm.embedding") => "embeddings",
        (super::ID, _) => "chat",
        _ => return None,
    };
    let labels = vec![
        ("gen_ai_operation_name", operation.to_owned()),
        ("gen_ai_request_model", label("label")?.to_owned()),
    ];
    Some(Sample { labels, value })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nfrx_pool::RequestKind;
    use nfrx_spi::metrics::SampleValue;

    use super::*;

    #[test]
    fn only_language_models_are_there_and_under_both_names_alike() {
        let metrics = Arc::new(RequestMetrics::default());
        for ext in [super::super::ID, "mcp"] {
            let kind = RequestKind { ext, plugin_type: "worker", job_type: "llm.completion" };
            metrics.tally(kind, "phi").first_byte(Duration::from_millis(30));
        }
        let families = GenAi(metrics).collect();
        assert_eq!(families.len(), NAMES.len());
        let first = families.iter().find(|family| family.name.ends_with("time_to_first_token_seconds"));
        let samples = &first.expect("it is served").samples;
        assert_eq!(samples.len(), 1);
        let labels = [("gen_ai_operation_name", "chat"), ("gen_ai_request_model", "phi")];
        assert_eq!(samples[0].labels, labels.map(|(name, value)| (name, value.to_owned())));
        assert!(matches!(samples[0].value, SampleValue::Histogram { count: 1, .. }));
    }
}
