//! A closed loop: each connection asks again as soon as it was answered.

use std::cell::Cell;

use anyhow::Result;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::{Meter, Snapshot, Times};
use crate::figure::Figure;
use crate::http::{AskError, Client, Request};

pub(super) async fn run(
    figure: &Figure,
    connections: usize,
    meter: &Meter<'_>,
    times: Times,
) -> Result<(Snapshot, Snapshot)> {
    let (requests, events) = figure.requests(meter.target);
    // One cycle for all connections together, so that each request has the same share.
    let next = Cell::new(0);
    let requests = || {
        let turn = next.replace(next.get() + 1);
        &requests[turn % requests.len()]
    };
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(Client::connect(meter.target.addr).await?);
    }
    let begin = Instant::now() + times.warm_up;
    let end = begin + times.window;
    let mut loops: FuturesUnordered<_> =
        clients.into_iter().map(|client| repeat(client, &requests, events, end, meter)).collect();
    let load = async {
        while let Some(ended) = loops.next().await {
            ended?;
        }
        Ok(())
    };
    let (snapshots, ()) = tokio::try_join!(meter.watch(begin, end), load)?;
    Ok(snapshots)
}

async fn repeat<'r>(
    mut client: Client,
    requests: &impl Fn() -> &'r Request,
    events: u64,
    end: Instant,
    meter: &Meter<'_>,
) -> Result<(), AskError> {
    loop {
        let answered = client.ask(requests(), |_, piece| meter.saw(piece)).await?;
        answered.check_events(events)?;
        meter.answered(&answered);
        if answered.ended >= end {
            return Ok(());
        }
    }
}
