//! What a relay adds for one client alone: request by request in turn, so that each meets the same
//! noise as its neighbours.
//!
//! First small requests and streams of a single token, in turn, for requests and first tokens; then
//! one long stream of each way, all at once, for the gaps.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::Bench;
use super::rows::{Goal, Rows};
use crate::figure::{STREAM_EVENTS_MORE, short_stream, small};
use crate::http::{Client, Request};
use crate::session::Session;
use crate::stats::quantile;
use crate::target::Target;

/// Asked before anything counts.
const WARM_UP: usize = 50;
/// Of the long stream: as quick as a quick model.
const PER_SECOND: u64 = 100;
/// Fewer of anything have no p99.
const SAMPLES_MIN: usize = 400;

/// The goal of p50; the others are reported.
const ADDED: Goal = Some((250.0, 120.0));

/// Which times of a way.
type Times = fn(&mut Way) -> &mut Vec<Duration>;

/// A way to the backend, and what was seen on it.
struct Way {
    name: String,
    client: Client,
    small: Request,
    /// A stream of one token.
    token: Request,
    /// A long stream, and its tokens.
    stream: Request,
    tokens: u64,
    latencies: Vec<Duration>,
    firsts: Vec<Duration>,
    gaps: Vec<Duration>,
}

pub(super) async fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let session = Session::start(&bench.plan.programs, &bench.plan.peers).await?;
    let tokens = (bench.window() * 4).as_secs() * PER_SECOND;
    let mut ways = Vec::new();
    for target in session.parts().0 {
        let mut way = Way::open(target, tokens).await?;
        for _ in 0..WARM_UP {
            way.client.ask(&way.small, |_, _| {}).await.with_context(|| way.name.clone())?;
        }
        ways.push(way);
    }
    let end = Instant::now() + bench.window() * 4;
    while Instant::now() < end || ways[0].firsts.len() < SAMPLES_MIN {
        for way in &mut ways {
            way.ask().await.with_context(|| way.name.clone())?;
        }
        for way in &mut ways {
            way.first().await.with_context(|| way.name.clone())?;
        }
    }
    try_join_all(ways.iter_mut().map(Way::follow)).await?;
    let Way { latencies, firsts, gaps, .. } = &ways[0];
    eprintln!("{} requests, {} first tokens, {} gaps of each way", latencies.len(), firsts.len(), gaps.len());
    tell(&mut ways, rows)
}

fn tell(ways: &mut [Way], rows: &mut Rows) -> Result<()> {
    let figures: [(&str, Times, f64, Goal); 6] = [
        ("p50 added", |way| &mut way.latencies, 0.5, ADDED),
        ("p99 added", |way| &mut way.latencies, 0.99, None),
        ("time to first token added, p50", |way| &mut way.firsts, 0.5, None),
        ("time to first token added, p99", |way| &mut way.firsts, 0.99, None),
        ("gap between tokens added, p50", |way| &mut way.gaps, 0.5, None),
        ("gap between tokens added, p99", |way| &mut way.gaps, 0.99, None),
    ];
    for (about, of, share, goal) in figures {
        let mut direct = None;
        for way in &mut *ways {
            let value = quantile(of(way), share).context("nothing was measured")?.as_secs_f64() * 1e6;
            let Some(direct) = direct else {
                direct = Some(value);
                continue;
            };
            let goal = goal.filter(|_| way.name == "nfrx");
            rows.add(format!("{about} by {} at concurrency 1", way.name), "µs", goal, value - direct);
        }
    }
    Ok(())
}

impl Way {
    async fn open(target: &Target, tokens: u64) -> Result<Self> {
        Ok(Self {
            name: target.name.clone(),
            client: Client::connect(target.addr).await?,
            small: small(target),
            token: short_stream(target, 1, PER_SECOND),
            stream: short_stream(target, tokens, PER_SECOND),
            tokens,
            latencies: Vec::new(),
            firsts: Vec::new(),
            gaps: Vec::new(),
        })
    }

    async fn ask(&mut self) -> Result<()> {
        let answered = self.client.ask(&self.small, |_, _| {}).await?;
        self.latencies.push(answered.ended - answered.began);
        Ok(())
    }

    /// Asks for one token, and takes the time to the first event.
    async fn first(&mut self) -> Result<()> {
        let (began, mut first) = (Instant::now(), None);
        let answered = self.client.ask(&self.token, |now, piece| {
            if piece.events > 0 {
                first.get_or_insert(now - began);
            }
        });
        answered.await?.check_events(1 + STREAM_EVENTS_MORE)?;
        self.firsts.extend(first);
        Ok(())
    }

    /// Follows the long stream, and takes what lies between its tokens.
    async fn follow(&mut self) -> Result<()> {
        let (gaps, mut last) = (&mut self.gaps, None);
        let answered = self.client.ask(&self.stream, |now, piece| {
            if piece.events > 0
                && let Some(last) = last.replace(now)
            {
                gaps.push(now - last);
            }
        });
        let answered = answered.await.with_context(|| self.name.clone())?;
        answered.check_events(self.tokens + STREAM_EVENTS_MORE)?;
        Ok(())
    }
}
