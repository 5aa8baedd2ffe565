//! What a relay adds for one client alone: request by request in turn, so that each meets the same
//! noise as its neighbours.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::Bench;
use super::rows::{Goal, Rows};
use crate::figure::{STREAM_EVENTS_MORE, short_stream, small};
use crate::http::{Client, Request};
use crate::session::Session;
use crate::stats::quantile;

/// Asked before anything counts.
const WARM_UP: usize = 50;
/// A stream is this long and this quick: short, so that there are many first tokens.
const TOKENS: u64 = 5;
const PER_SECOND: u64 = 50;
/// Requests for one stream.
const REQUESTS: usize = 25;

/// The goal of p50; the others are reported.
const ADDED: Goal = Some((250.0, 120.0));

/// Which times of a way.
type Times = fn(&mut Way) -> &mut Vec<Duration>;

/// A way to the backend, and what was seen on it.
struct Way {
    name: String,
    client: Client,
    small: Request,
    stream: Request,
    latencies: Vec<Duration>,
    firsts: Vec<Duration>,
    gaps: Vec<Duration>,
}

pub(super) async fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let session = Session::start(&bench.plan.programs, &bench.plan.peers).await?;
    let mut ways = Vec::new();
    for target in session.parts().0 {
        let mut way = Way {
            name: target.name.clone(),
            client: Client::connect(target.addr).await?,
            small: small(target),
            stream: short_stream(target, TOKENS, PER_SECOND),
            latencies: Vec::new(),
            firsts: Vec::new(),
            gaps: Vec::new(),
        };
        for _ in 0..WARM_UP {
            way.client.ask(&way.small, |_, _| {}).await.with_context(|| way.name.clone())?;
        }
        ways.push(way);
    }
    let end = Instant::now() + bench.window() * 4;
    while Instant::now() < end {
        for _ in 0..REQUESTS {
            for way in &mut ways {
                way.ask().await.with_context(|| way.name.clone())?;
            }
        }
        for way in &mut ways {
            way.follow().await.with_context(|| way.name.clone())?;
        }
    }
    tell(&mut ways, rows)
}

fn tell(ways: &mut [Way], rows: &mut Rows) -> Result<()> {
    let figures: [(&str, Times, f64, Goal); 5] = [
        ("p50 added", |way| &mut way.latencies, 0.5, ADDED),
        ("p99 added", |way| &mut way.latencies, 0.99, None),
        ("time to first token added, p50", |way| &mut way.firsts, 0.5, None),
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
    async fn ask(&mut self) -> Result<()> {
        let answered = self.client.ask(&self.small, |_, _| {}).await?;
        self.latencies.push(answered.ended - answered.began);
        Ok(())
    }

    async fn follow(&mut self) -> Result<()> {
        let (began, mut last) = (Instant::now(), None);
        let (firsts, gaps) = (&mut self.firsts, &mut self.gaps);
        let answered = self.client.ask(&self.stream, |now, piece| {
            if piece.events == 0 {
                return;
            }
            match last.replace(now) {
                None => firsts.push(now - began),
                Some(last) => gaps.push(now - last),
            }
        });
        answered.await?.check_events(TOKENS + STREAM_EVENTS_MORE)?;
        Ok(())
    }
}
