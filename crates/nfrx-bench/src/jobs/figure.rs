//! The figures of a job queue, and how each is measured.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::queue::Queue;
use crate::stats::quantile;

/// Clients that make jobs at once.
const CREATORS: usize = 16;
/// Connections that fill a queue.
const FILLERS: usize = 64;
/// Between a waiting claim and the job it waits for: long enough that it does wait.
const SETTLE: Duration = Duration::from_millis(3);

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amounts {
    /// How long jobs are made.
    pub(super) window: Duration,
    /// How many jobs wait while claims are measured.
    pub(super) waiting: usize,
    /// Of how many types.
    pub(super) types: usize,
    /// How many claims are measured.
    pub(super) claims: usize,
    /// How many wake-ups.
    pub(super) wakes: usize,
}

/// What one queue showed in one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Readings {
    /// Jobs acknowledged in a second, to 16 clients.
    pub(super) creates_per_s: f64,
    /// Processor time of the queue for each of them, in microseconds.
    pub(super) create_cpu_us: f64,
    /// A claim while few jobs wait (one of each type): half are quicker, in microseconds.
    pub(super) claim_few_p50_us: f64,
    /// The same while many wait.
    pub(super) claim_p50_us: f64,
    /// Of those one in a hundred is slower.
    pub(super) claim_p99_us: f64,
    /// From sending a job to its arrival at a claim that waited: half are quicker.
    pub(super) wake_p50_us: f64,
    /// One in a hundred is slower.
    pub(super) wake_p99_us: f64,
}

impl Readings {
    /// Measures an empty queue; it is full of taken jobs afterwards.
    pub(super) async fn take(queue: &Queue, amounts: &Amounts) -> Result<Self> {
        let (wake_p50_us, wake_p99_us) = wakes(queue, amounts.wakes).await?;
        fill(queue, amounts.types, amounts.types).await?;
        let (claim_few_p50_us, _) = claims(queue, amounts.types.min(amounts.claims), amounts.types).await?;
        fill(queue, amounts.waiting, amounts.types).await?;
        let (claim_p50_us, claim_p99_us) = claims(queue, amounts.claims, amounts.types).await?;
        let (creates_per_s, create_cpu_us) = creates(queue, amounts.window, amounts.types).await?;
        Ok(Self {
            creates_per_s,
            create_cpu_us,
            claim_few_p50_us,
            claim_p50_us,
            claim_p99_us,
            wake_p50_us,
            wake_p99_us,
        })
    }
}

async fn creates(queue: &Queue, window: Duration, types: usize) -> Result<(f64, f64)> {
    let before = queue.process.usage()?.cpu;
    let start = Instant::now();
    let creators = (0..CREATORS).map(|creator| async move {
        let mut link = queue.link().await?;
        let mut made = 0_usize;
        while start.elapsed() < window {
            link.create((creator + made * CREATORS) % types).await?;
            made += 1;
        }
        anyhow::Ok(made)
    });
    let made: usize = try_join_all(creators).await?.iter().sum();
    let (took, cpu) = (start.elapsed(), queue.process.usage()?.cpu.saturating_sub(before));
    Ok((made as f64 / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / made as f64))
}

/// Makes `count` jobs, as many of each type.
async fn fill(queue: &Queue, count: usize, types: usize) -> Result<()> {
    let fillers = (0..FILLERS).map(|filler| async move {
        let mut link = queue.link().await?;
        for number in (filler..count).step_by(FILLERS) {
            link.create(number % types).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(fillers).await?;
    Ok(())
}

/// One worker takes `count` jobs, going through the types.
async fn claims(queue: &Queue, count: usize, types: usize) -> Result<(f64, f64)> {
    let mut link = queue.link().await?;
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let began = Instant::now();
        link.claim(number % types).await?;
        times.push(began.elapsed());
    }
    Ok(quantiles(times))
}

async fn wakes(queue: &Queue, count: usize) -> Result<(f64, f64)> {
    let (mut waiting, mut making) = (queue.link().await?, queue.link().await?);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let made = async {
            sleep(SETTLE).await;
            let began = Instant::now();
            making.create(0).await?;
            anyhow::Ok(began)
        };
        let taken = async {
            waiting.wait(0).await?;
            anyhow::Ok(Instant::now())
        };
        let (began, ended) = tokio::try_join!(made, taken)?;
        times.push(ended.duration_since(began));
    }
    Ok(quantiles(times))
}

/// Half are below the first, one in a hundred above the second; in microseconds.
fn quantiles(mut times: Vec<Duration>) -> (f64, f64) {
    let mut micros = |share| quantile(&mut times, share).unwrap_or_default().as_secs_f64() * 1e6;
    (micros(0.5), micros(0.99))
}
