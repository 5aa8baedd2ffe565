//! Requests at the backend: counted while they run, and by how they end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use nfrx_spi::metrics::{Counter, Histogram, Instrument as _, MetricKind, SECONDS, SampleValue};
use nfrx_spi::{Body, BodyError};
use tokio::time::Instant;

use crate::StatusBoard;

/// What became of all requests so far (metrics contract §2).
#[derive(Debug)]
pub(crate) struct Jobs {
    started: Counter,
    succeeded: Counter,
    failed: Counter,
    durations: Histogram,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            started: Counter::default(),
            succeeded: Counter::default(),
            failed: Counter::default(),
            durations: Histogram::new(SECONDS),
        }
    }
}

/// A metric without labels: name, help, kind, value.
type Value = (&'static str, &'static str, MetricKind, SampleValue);

impl Jobs {
    /// All of it as it is now.
    pub(crate) fn values(&self) -> [Value; 4] {
        use MetricKind::{Counter, Histogram};
        [
            ("nfrx_worker_jobs_started_total", "requests taken", Counter, self.started.value()),
            (
                "nfrx_worker_jobs_succeeded_total",
                "requests whose answer ended whole, with a status below 500",
                Counter,
                self.succeeded.value(),
            ),
            (
                "nfrx_worker_jobs_failed_total",
                "requests that the backend failed; those that their caller left are in neither",
                Counter,
                self.failed.value(),
            ),
            (
                "nfrx_worker_job_duration_seconds",
                "from a request to the end of its answer",
                Histogram,
                self.durations.value(),
            ),
        ]
    }
}

/// One request at the backend. Dropping it without a word of its end means that its
/// caller left.
#[derive(Debug)]
pub struct JobGuard {
    board: StatusBoard,
    started: Instant,
    succeeded: Option<bool>,
}

impl JobGuard {
    pub(crate) fn new(board: StatusBoard) -> Self {
        board.jobs().started.inc();
        board.count_job(1);
        Self { board, started: Instant::now(), succeeded: None }
    }

    /// Says how it ended; the first word counts.
    pub fn ended(&mut self, succeeded: bool) {
        self.succeeded.get_or_insert(succeeded);
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        let jobs = self.board.jobs();
        match self.succeeded {
            Some(true) => jobs.succeeded.inc(),
            Some(false) => jobs.failed.inc(),
            None => {}
        }
        jobs.durations.observe_duration(self.started.elapsed());
        self.board.count_job(-1);
    }
}

/// The answer, whose job ends with it.
pub fn counted(answer: Response<Body>, mut job: JobGuard) -> Response<Body> {
    let well = !answer.status().is_server_error();
    answer.map(|body| {
        if body.is_end_stream() {
            job.ended(well);
            return body;
        }
        Body::stream(Counted { body, well, job: Some(job) })
    })
}

/// A body that notes how it ends. It is the first to go.
struct Counted {
    body: Body,
    well: bool,
    job: Option<JobGuard>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let broken = matches!(frame, Some(Err(_)));
        if (broken || frame.is_none() || self.body.is_end_stream())
            && let Some(mut job) = self.job.take()
        {
            job.ended(self.well && !broken);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
