//! The driver: many connections on one thread, closed loops and paced streams.
//!
//! Costs and counts are taken at the same two moments, the window's begin and end, so they belong
//! together however late the driver is. Nothing is cut at the end of a window: requests under way
//! are finished and judged like all others, outside of the figures.

mod bulk;
mod closed;
mod paced;

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep_until, timeout};

use crate::figure::{Figure, Work};
use crate::http::{Answered, Piece};
use crate::machine;
use crate::process::{Process, Usage};
use crate::target::Target;

/// How long the requests of one measurement may take beyond its window.
const FINISH_MAX: Duration = Duration::from_secs(30);

/// How long is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Under load, but not yet measured.
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    /// Downloads and uploads are repeated so often.
    pub(crate) repeats: u32,
}

/// What one measurement saw.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) before: Snapshot,
    pub(crate) after: Snapshot,
    pub(crate) samples: Samples,
}

/// All counters at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: Instant,
    pub(crate) counts: Counts,
    /// What all cores have worked, for us or others.
    pub(crate) machine: Duration,
    /// By role: what the target's processes, the backend (`sim`) and we (`driver`) have used.
    pub(crate) usage: Vec<(&'static str, Usage)>,
}

/// What came so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) events: u64,
    pub(crate) body_bytes: u64,
}

/// Times of single requests and events inside the window.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// From a request's first byte to its answer's last.
    pub(crate) latencies: Vec<Duration>,
    /// From a request's first byte to the first event; paced streams only.
    pub(crate) firsts: Vec<Duration>,
    /// Between an event and the next of the same stream; paced streams only.
    pub(crate) gaps: Vec<Duration>,
    /// Bytes transferred and the time that took; bulk only.
    pub(crate) transfer: Option<(u64, Duration)>,
}

/// Measures a figure once.
pub(crate) async fn measure(
    figure: &Figure,
    target: &Target,
    backend: &Process,
    times: Times,
) -> Result<Observed> {
    let meter = Meter { target, backend, tally: RefCell::default() };
    let load = async {
        match figure.work {
            Work::Requests(connections) | Work::Models { connections, .. } | Work::Streams(connections) => {
                closed::run(figure, connections, &meter, times).await
            }
            Work::Paced { streams, per_second } => {
                paced::run(figure, streams, per_second, &meter, times).await
            }
            Work::Download | Work::Upload | Work::UploadJson => bulk::run(figure, &meter, times).await,
        }
    };
    let limit = times.warm_up + times.window + FINISH_MAX;
    let (before, after) = timeout(limit, load).await.context("the load did not end")??;
    Ok(Observed { before, after, samples: meter.tally.into_inner().samples })
}

/// Counts what comes and what it costs.
#[derive(Debug)]
struct Meter<'a> {
    target: &'a Target,
    backend: &'a Process,
    /// Never borrowed across an await: everything runs on one thread.
    tally: RefCell<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    counts: Counts,
    samples: Samples,
    /// Whether this is inside the window.
    sampling: bool,
}

impl Meter<'_> {
    fn saw(&self, piece: Piece) {
        let counts = &mut self.tally.borrow_mut().counts;
        counts.events += piece.events;
        counts.body_bytes += piece.body_bytes;
    }

    fn answered(&self, answered: &Answered) {
        let mut tally = self.tally.borrow_mut();
        tally.counts.requests += 1;
        if tally.sampling {
            tally.samples.latencies.push(answered.ended - answered.began);
        }
    }

    /// Changes the samples, if this is inside the window.
    fn sample(&self, change: impl FnOnce(&mut Samples)) {
        let mut tally = self.tally.borrow_mut();
        if tally.sampling {
            change(&mut tally.samples);
        }
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let mut usage = vec![("driver", Usage::of_self()?), ("sim", self.backend.usage()?)];
        for process in &self.target.processes {
            usage.push((process.role(), process.usage()?));
        }
        let counts = self.tally.borrow().counts;
        Ok(Snapshot { at: Instant::now(), counts, machine: machine::busy()?, usage })
    }

    /// Waits for the window and takes the snapshots at its two ends.
    async fn watch(&self, begin: Instant, end: Instant) -> Result<(Snapshot, Snapshot)> {
        sleep_until(begin).await;
        self.tally.borrow_mut().sampling = true;
        let before = self.snapshot()?;
        sleep_until(end).await;
        self.tally.borrow_mut().sampling = false;
        Ok((before, self.snapshot()?))
    }
}
