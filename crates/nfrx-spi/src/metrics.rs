//! Metrics: instruments that a plugin moves, and the form in which they are read.
//!
//! Series are bounded: a [`Family`] keeps at most its number of label sets and counts
//! everything else under `other`, so that no client can make the process grow by
//! inventing names (KD-30).

use std::fmt;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Takes collectors at start, in
/// [`Plugin::register_metrics`](crate::Plugin::register_metrics).
pub trait MetricsRegistry {
    /// Adds a collector. Its names must be new and well-formed. The same collector twice
    /// is one: plugins that share it ([`Shared`](crate::Shared)) need not agree who adds it.
    fn register(&mut self, collector: Arc<dyn Collector>) -> Result<(), MetricsError>;
}

/// Why a collector was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// Another collector has this name.
    #[error("metric `{name}` is registered already")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Not `[a-zA-Z_:][a-zA-Z0-9_:]*`, or a label not `[a-zA-Z_][a-zA-Z0-9_]*`.
    #[error("`{name}` is no valid name for a metric or label")]
    BadName {
        /// The name.
        name: String,
    },
}

/// Something that can be read as metric families.
///
/// Called by the server at each scrape, from the scrape's task, and once when it is
/// registered; must not block. A [`Family`] is one; whoever has several puts their
/// families into one list.
pub trait Collector: Send + Sync + 'static {
    /// The families, each with all its series. Names are the same at each call.
    fn collect(&self) -> Vec<MetricFamily>;
}

/// One metric with its series.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    /// Its full name, as it is served.
    pub name: &'static str,
    /// One line.
    pub help: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its series.
    pub samples: Vec<Sample>,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// One series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: SampleValue,
}

/// The value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Histogram {
        /// Upper bounds in seconds or bytes, each with how many values were at most
        /// that; `+Inf` is `count`.
        buckets: Vec<(f64, u64)>,
        /// All values added up.
        sum: f64,
        /// How many values.
        count: u64,
    },
}

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Adds up spans of time; served in seconds.
#[derive(Debug, Default)]
pub struct SecondsCounter(AtomicU64);

impl SecondsCounter {
    /// Adds a span.
    pub fn add(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    /// The sum.
    pub fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Upper bounds in seconds, fit for work that takes milliseconds or minutes (KD-30).
pub const SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];

/// Counts values by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    /// In millionths, so that it can be added to atomically.
    sum_micro: AtomicU64,
}

impl Histogram {
    /// An empty one with these upper bounds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_micro: AtomicU64::new(0) }
    }

    /// Counts a value that is not negative.
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum_micro.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    /// Counts a span of time, in seconds.
    pub fn observe_duration(&self, span: Duration) {
        self.observe(span.as_secs_f64());
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// An instrument that a [`Family`] keeps one of per label set.
pub trait Instrument: Send + Sync + 'static {
    /// What it is.
    const KIND: MetricKind;

    /// Its value now.
    fn value(&self) -> SampleValue;
}

impl Instrument for Counter {
    const KIND: MetricKind = MetricKind::Counter;

    fn value(&self) -> SampleValue {
        SampleValue::Number(self.get() as f64)
    }
}

impl Instrument for SecondsCounter {
    const KIND: MetricKind = MetricKind::Counter;

    fn value(&self) -> SampleValue {
        SampleValue::Number(self.get().as_secs_f64())
    }
}

impl Instrument for Gauge {
    const KIND: MetricKind = MetricKind::Gauge;

    fn value(&self) -> SampleValue {
        SampleValue::Number(self.get() as f64)
    }
}

impl Instrument for Histogram {
    const KIND: MetricKind = MetricKind::Histogram;

    fn value(&self) -> SampleValue {
        let mut below = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count.load(Ordering::Relaxed);
            buckets.push((*bound, below));
        }
        let count = below + self.counts[self.bounds.len()].load(Ordering::Relaxed);
        let sum = self.sum_micro.load(Ordering::Relaxed) as f64 / 1e6;
        SampleValue::Histogram { buckets, sum, count }
    }
}

/// A label set and its instrument.
struct Series<I, const N: usize> {
    values: [String; N],
    instrument: Arc<I>,
}

/// One metric with labels: an instrument per label set, at most `series_max` of them.
pub struct Family<I, const N: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
    series_max: usize,
    make: fn() -> I,
    /// By the hash of all labels, so that a look-up makes no copy of them.
    series: RwLock<HashTable<Series<I, N>>>,
    hasher: DefaultHashBuilder,
}

impl<I: Instrument, const N: usize> Family<I, N> {
    /// An empty family. `make` gives the instrument of a new label set.
    pub fn new(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        series_max: usize,
        make: fn() -> I,
    ) -> Self {
        let (series, hasher) = Default::default();
        Self { name, help, labels, series_max, make, series, hasher }
    }

    /// The instrument of this label set. Keep it where the set is known for longer: the
    /// look-up takes a lock. Once `series_max` sets exist, a new one shares the
    /// instrument whose labels are all `other`.
    pub fn with(&self, values: [&str; N]) -> Arc<I> {
        let hash = self.hash(values);
        let is_wanted = |one: &Series<I, N>| one.values == values;
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.find(hash, is_wanted) {
            return Arc::clone(&found.instrument);
        }
        drop(known);
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let values = if series.len() < self.series_max { values } else { ["other"; N] };
        // Another may have made it meanwhile.
        let made = series
            .entry(self.hash(values), |one| one.values == values, |one| self.hash(one.values.each_ref()))
            .or_insert_with(|| Series {
                values: values.map(str::to_owned),
                instrument: Arc::new((self.make)()),
            });
        Arc::clone(&made.get().instrument)
    }

    /// Serves these label sets from now on, at zero: an alert on growth needs the zero that it grows from.
    pub fn begin_at_zero<'a>(&self, sets: impl IntoIterator<Item = [&'a str; N]>) {
        sets.into_iter().for_each(|values| drop(self.with(values)));
    }

    fn hash(&self, values: [impl AsRef<str>; N]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        values.iter().for_each(|value| value.as_ref().hash(&mut hasher));
        hasher.finish()
    }

    /// Drops the series for which `stays` says no, such as those of workers that left.
    pub fn retain(&self, mut stays: impl FnMut(&[String; N]) -> bool) {
        self.series.write().unwrap_or_else(PoisonError::into_inner).retain(|one| stays(&one.values));
    }
}

impl<I, const N: usize> fmt::Debug for Family<I, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<I: Instrument, const N: usize> Collector for Family<I, N> {
    fn collect(&self) -> Vec<MetricFamily> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let mut samples: Vec<_> = series
            .iter()
            .map(|one| Sample {
                labels: self.labels.iter().copied().zip(one.values.iter().cloned()).collect(),
                value: one.instrument.value(),
            })
            .collect();
        // As people look for them.
        samples.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        vec![MetricFamily { name: self.name, help: self.help, kind: I::KIND, samples }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_shares_one_series_beyond_its_bound() {
        let family = Family::new("x_total", "help", ["model"], 2, Counter::default);
        // Seen to fail: with a new series put at the end.
        for model in ["b", "a", "c", "d", "a"] {
            family.with([model]).inc();
        }
        let read: Vec<_> =
            family.collect()[0].samples.iter().map(|s| (s.labels[0].1.clone(), s.value.clone())).collect();
        let number = |n| SampleValue::Number(n);
        assert_eq!(
            read,
            [("a".into(), number(2.0)), ("b".into(), number(1.0)), ("other".into(), number(2.0))]
        );
    }

    #[test]
    fn label_sets_are_told_apart() {
        let family = Family::new("x_total", "help", ["worker_id", "kind"], 5000, Counter::default);
        let ids: Vec<String> = (0..2000).map(|nth| format!("worker-{nth}")).collect();
        // Labels whose parts have the same letters.
        let alike = [["ab", "c"], ["a", "bc"], ["abc", ""], ["", "abc"], ["", ""]];
        for round in 1..=3 {
            for id in &ids {
                family.with([id, "in"]).add(1);
                family.with([id, "out"]).add(2);
            }
            alike.iter().for_each(|values| family.with(*values).add(5));
            assert_eq!(family.with(["worker-7", "in"]).get(), round);
        }
        assert_eq!(family.collect()[0].samples.len(), 4000 + alike.len());
        // Seen to fail: when labels are hashed and not compared.
        alike.iter().for_each(|values| assert_eq!(family.with(*values).get(), 15, "{values:?}"));
        family.retain(|labels| labels[0] != "worker-7");
        assert_eq!((family.with(["worker-7", "in"]).get(), family.with(["worker-8", "out"]).get()), (0, 6));
    }

    #[test]
    fn a_histograms_buckets_are_cumulative() {
        let histogram = Histogram::new(&[1.0, 10.0]);
        for value in [0.5, 1.0, 5.0, 50.0] {
            histogram.observe(value);
        }
        let expected = SampleValue::Histogram { buckets: vec![(1.0, 2), (10.0, 3)], sum: 56.5, count: 4 };
        assert_eq!(histogram.value(), expected);
    }
}
