//! Metrics as text: Prometheus' exposition format 0.0.4, and the registry that keeps
//! what is to be written.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use nfrx_spi::metrics::{MetricFamily, MetricKind, SampleValue};
use nfrx_spi::{Collector, MetricsError, MetricsRegistry};

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything a process measures.
#[derive(Default)]
pub struct Registry {
    collectors: Vec<Arc<dyn Collector>>,
    names: BTreeSet<String>,
}

impl Registry {
    /// The text of all families, sorted by name.
    pub fn text(&self) -> String {
        let mut families: Vec<_> = self.collectors.iter().flat_map(|each| each.collect()).collect();
        families.sort_by_key(|family| family.name);
        encode(&families)
    }
}

impl MetricsRegistry for Registry {
    fn register(&mut self, collector: Arc<dyn Collector>) -> Result<(), MetricsError> {
        if self.collectors.iter().any(|known| Arc::ptr_eq(known, &collector)) {
            return Ok(());
        }
        let families = collector.collect();
        let mut names = BTreeSet::new();
        for family in &families {
            check_name(family.name, true)?;
            for (label, _) in family.samples.iter().flat_map(|sample| &sample.labels) {
                check_name(label, false)?;
            }
            if self.names.contains(family.name) || !names.insert(family.name.to_owned()) {
                return Err(MetricsError::Duplicate { name: family.name.to_owned() });
            }
        }
        self.names.append(&mut names);
        self.collectors.push(collector);
        Ok(())
    }
}

/// Colons are for metrics only, not for labels.
fn check_name(name: &str, colons: bool) -> Result<(), MetricsError> {
    let fits = |(at, c): (usize, char)| {
        c.is_ascii_alphabetic() || c == '_' || (c == ':' && colons) || (at > 0 && c.is_ascii_digit())
    };
    if name.is_empty() || !name.chars().enumerate().all(fits) {
        return Err(MetricsError::BadName { name: name.to_owned() });
    }
    Ok(())
}

/// Writes families in the order given. A family without series is left out, as
/// existing boards expect (metrics contract §1).
pub fn encode(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        let name = family.name;
        // Writing into a text can't fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in &family.samples {
            match &sample.value {
                SampleValue::Number(value) => line(&mut text, name, "", &sample.labels, None, *value),
                SampleValue::Histogram { buckets, sum, count } => {
                    for (bound, below) in buckets {
                        line(&mut text, name, "_bucket", &sample.labels, Some(*bound), *below as f64);
                    }
                    line(&mut text, name, "_bucket", &sample.labels, Some(f64::INFINITY), *count as f64);
                    line(&mut text, name, "_sum", &sample.labels, None, *sum);
                    line(&mut text, name, "_count", &sample.labels, None, *count as f64);
                }
            }
        }
    }
    text
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&'static str, String)],
    le: Option<f64>,
    value: f64,
) {
    let _ = write!(text, "{name}{suffix}");
    let mut separator = '{';
    for (label, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{separator}{label}=\"{value}\"");
        separator = ',';
    }
    if let Some(bound) = le {
        let _ = write!(text, "{separator}le=\"{}\"", number(bound));
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
    let _ = writeln!(text, " {}", number(value));
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use nfrx_spi::metrics::{Counter, Family, Histogram, Sample};

    use super::*;

    #[test]
    fn counters_and_histograms_are_written_to_the_letter() {
        let requests = Family::new("x_total", "one\\two\nthree", ["model"], 9, Counter::default);
        requests.with(["a\"b\\c\nd"]).add(3);
        let spans = Family::new("x_seconds", "time", [], 9, || Histogram::new(&[0.5, 1.0]));
        spans.with([]).observe(0.25);
        spans.with([]).observe(4.0);
        let mut registry = Registry::default();
        registry.register(Arc::new(requests)).expect("a new name");
        registry.register(Arc::new(spans)).expect("a new name");
        let expected = "# HELP x_seconds time\n# TYPE x_seconds histogram\n\
            x_seconds_bucket{le=\"0.5\"} 1\nx_seconds_bucket{le=\"1\"} 1\nx_seconds_bucket{le=\"+Inf\"} 2\n\
            x_seconds_sum 4.25\nx_seconds_count 2\n\
            # HELP x_total one\\\\two\\nthree\n# TYPE x_total counter\n\
            x_total{model=\"a\\\"b\\\\c\\nd\"} 3\n";
        // Seen to fail: without the escapes of label values.
        assert_eq!(registry.text(), expected);
    }

    #[test]
    fn a_family_without_series_is_left_out() {
        let empty = Family::new("x_total", "", ["model"], 9, Counter::default);
        assert_eq!(encode(&empty.collect()), "");
    }

    #[test]
    fn a_second_metric_of_a_name_and_a_bad_name_are_refused() {
        let family = |name| Arc::new(Family::new(name, "", [], 1, Counter::default));
        let mut registry = Registry::default();
        registry.register(family("a:b_total")).expect("a new name");
        let duplicate = MetricsError::Duplicate { name: "a:b_total".into() };
        assert_eq!(registry.register(family("a:b_total")), Err(duplicate));
        for name in ["", "0a", "a-b"] {
            assert_eq!(registry.register(family(name)), Err(MetricsError::BadName { name: name.into() }));
        }
    }

    #[test]
    fn the_same_collector_twice_is_one() {
        let shared = Arc::new(Family::new("x_total", "", [], 1, Counter::default));
        shared.with([]).inc();
        let mut registry = Registry::default();
        for _ in 0..2 {
            // Seen to fail: without the look for the same collector it is a duplicate.
            registry.register(Arc::clone(&shared) as Arc<dyn Collector>).expect("the same collector");
        }
        assert_eq!(registry.text().matches("x_total 1").count(), 1);
    }

    #[test]
    fn a_bad_label_is_refused() {
        struct Bad;
        impl Collector for Bad {
            fn collect(&self) -> Vec<MetricFamily> {
                let sample = Sample { labels: vec![("a:b", "x".into())], value: SampleValue::Number(1.0) };
                vec![MetricFamily { name: "x", help: "", kind: MetricKind::Gauge, samples: vec![sample] }]
            }
        }
        let refused = Registry::default().register(Arc::new(Bad));
        assert_eq!(refused, Err(MetricsError::BadName { name: "a:b".into() }));
    }
}
