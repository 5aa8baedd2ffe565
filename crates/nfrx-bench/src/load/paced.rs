//! Streams whose backend sets the pace, and when their events arrive.

use std::time::Duration;

use anyhow::Result;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::{Meter, Snapshot, Times};
use crate::figure::Figure;
use crate::http::{AskError, Client, Request};

/// Streams go on for so long after the window, so that none ends inside it.
const TAIL: Duration = Duration::from_millis(500);

pub(super) async fn run(
    figure: &Figure,
    streams: usize,
    per_second: u64,
    meter: &Meter<'_>,
    times: Times,
) -> Result<(Snapshot, Snapshot)> {
    let runs = times.warm_up + times.window + TAIL;
    let (request, events) = figure.request(meter.target, runs);
    let mut clients = Vec::with_capacity(streams);
    for _ in 0..streams {
        clients.push(Client::connect(meter.target.addr).await?);
    }
    let start = Instant::now();
    // Spread over one interval: tokens of different streams have nothing to do with each other, and
    // a burst of all at once would be cheaper than life.
    let offset = Duration::from_secs(1) / u32::try_from(per_second)? / u32::try_from(streams)?;
    let mut running: FuturesUnordered<_> = (0u32..)
        .zip(clients)
        .map(|(index, client)| follow(client, &request, events, start + offset * index, meter))
        .collect();
    let load = async {
        while let Some(ended) = running.next().await {
            ended?;
        }
        Ok(())
    };
    let begin = start + times.warm_up;
    let (snapshots, ()) = tokio::try_join!(meter.watch(begin, begin + times.window), load)?;
    Ok(snapshots)
}

async fn follow(
    mut client: Client,
    request: &Request,
    events: u64,
    start: Instant,
    meter: &Meter<'_>,
) -> Result<(), AskError> {
    sleep_until(start).await;
    let (began, mut last) = (Instant::now(), None);
    let answered = client.ask(request, |now, piece| {
        meter.saw(piece);
        if piece.events == 0 {
            return;
        }
        match last.replace(now) {
            // Streams start before the window; when they first spoke is a figure all the same.
            None => meter.tally.borrow_mut().samples.firsts.push(now - began),
            Some(last) => meter.sample(|samples| samples.gaps.push(now - last)),
        }
    });
    let answered = answered.await?;
    answered.check_events(events)?;
    meter.answered(&answered);
    Ok(())
}
