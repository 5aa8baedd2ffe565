//! What this plugin counts beyond what the pool counts of all requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nfrx_spi::metrics::{Counter, Family, Histogram, MetricFamily, SECONDS};
use nfrx_spi::{ApiError, Collector, PartitionObserver};
use serde_json::{Value, json};

use crate::wire::Outcome;

/// Styles are what workers offer, so a worker could invent them: the rest is `other`.
const SERIES_MAX: usize = 64;

/// The series of this plugin. Names begin with `nfrx_captioner_`.
pub(super) struct CaptionMetrics {
    pictures: Family<Counter, 2>,
    seconds: Family<Histogram, 1>,
    chunk_seconds: Family<Histogram, 1>,
    refused: Family<Counter, 1>,
    totals: [AtomicU64; End::ALL.len()],
}

/// How it ended for one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It has a caption.
    Captioned,
    /// It can't be read.
    Unreadable,
    /// No worker gave an answer.
    Failed,
}

impl End {
    const ALL: [Self; 3] = [Self::Captioned, Self::Unreadable, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Captioned => "captioned",
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
        }
    }

    /// The end of a picture that was sent by itself.
    pub(super) fn of(outcome: &Result<Outcome, ApiError>) -> Self {
        outcome.as_ref().map_or(Self::Failed, Self::from)
    }
}

impl From<&Outcome> for End {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Caption(_) => Self::Captioned,
            Outcome::Error(_) => Self::Unreadable,
        }
    }
}

impl From<&ApiError> for End {
    fn from(_: &ApiError) -> Self {
        Self::Failed
    }
}

impl Default for CaptionMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(SECONDS);
        Self {
            pictures: Family::new(
                "nfrx_captioner_pictures_total",
                "Pictures, by how it ended for them.",
                ["style", "end"],
                SERIES_MAX,
                Counter::default,
            ),
            seconds: Family::new(
                "nfrx_captioner_request_seconds",
                "From the pick of a worker, or the request for several, to the last caption.",
                ["style"],
                SERIES_MAX,
                seconds,
            ),
            chunk_seconds: Family::new(
                "nfrx_captioner_chunk_seconds",
                "Time of one part of a split request at its worker.",
                ["success"],
                SERIES_MAX,
                seconds,
            ),
            refused: Family::new(
                "nfrx_captioner_refused_total",
                "Requests that hit a bound of this plugin.",
                ["reason"],
                SERIES_MAX,
                Counter::default,
            ),
            totals: Default::default(),
        }
    }
}

impl CaptionMetrics {
    /// A picture that was sent by itself.
    pub(super) fn one(&self, style: &str, end: End, took: Duration) {
        self.many(style, [end], took);
    }

    /// The pictures of one request.
    pub(super) fn many(&self, style: &str, ends: impl IntoIterator<Item = End>, took: Duration) {
        for end in ends {
            self.pictures.with([style, end.as_str()]).inc();
            self.totals[end as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.seconds.with([style]).observe_duration(took);
    }

    /// A request hit this bound.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.with([reason]).inc();
    }

    /// No worker was free for a picture, or none has its style.
    pub(super) fn no_worker(&self) {
        self.refused("no_worker");
    }

    /// How many pictures ended how, for the state.
    pub(super) fn totals(&self) -> Value {
        let total = |end: End| self.totals[end as usize].load(Ordering::Relaxed);
        json!({
            "captioned": total(End::Captioned),
            "unreadable": total(End::Unreadable),
            "failed": total(End::Failed),
        })
    }
}

impl Collector for CaptionMetrics {
    fn collect(&self) -> Vec<MetricFamily> {
        let families: [&dyn Collector; 4] =
            [&self.pictures, &self.seconds, &self.chunk_seconds, &self.refused];
        families.iter().flat_map(|family| family.collect()).collect()
    }
}

impl PartitionObserver for CaptionMetrics {
    fn on_chunk_result(
        &self,
        _worker_id: &str,
        _model: &str,
        took: Duration,
        _elements: usize,
        success: bool,
    ) {
        let success = if success { "true" } else { "false" };
        self.chunk_seconds.with([success]).observe_duration(took);
    }

    /// Whole requests are counted where their answers are read, split or not.
    fn on_job_result(&self, _model: &str, _took: Duration, _elements: usize, _success: bool) {}
}
