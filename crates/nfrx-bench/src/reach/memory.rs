//! What the server holds: for each worker that is connected, for each stream that is open.

use std::cell::Cell;

use anyhow::{Result, bail};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Duration, sleep};

use super::Bench;
use super::relay::Relay;
use super::rows::Rows;
use crate::figure::{slow_stream, small};
use crate::http::Client;
use crate::swarm::Swarm;

/// Workers of the first step.
const FEW: u32 = 1_000;
/// Open streams, each of a client of its own.
const STREAMS: usize = 4_000;
const SLOTS: u32 = 4;
/// Before memory is read, so that what was passed on is gone.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) async fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let all = bench.plan.workers;
    let mut relay = Relay::start(bench.nfrx()?, bench.scratch.folder("memory")?).await?;
    sleep(SETTLE).await;
    let empty = kib(&relay)?;
    relay.join(Swarm { from: 0, count: FEW, models: 1, slots: SLOTS }).await?;
    let few = kib(&relay)?;
    relay.join(Swarm { from: FEW, count: all - FEW, models: 1, slots: SLOTS }).await?;
    let many = kib(&relay)?;
    let goal = Some((40.0, 15.0));
    rows.add("server memory per idle worker, 0 → 1,000", "KiB", goal, (few - empty) / f64::from(FEW));
    rows.add(format!("… 1,000 → {all}"), "KiB", goal, (many - few) / f64::from(all - FEW));
    rows.add(format!("… 0 → {all}"), "KiB", goal, (many - empty) / f64::from(all));
    let (connected, open) = streams(&relay).await?;
    let each = |kib: f64| kib / STREAMS as f64;
    rows.add("server memory per open idle stream", "KiB", Some((16.0, 6.0)), each(open - connected));
    rows.add("… with its client's connection", "KiB", None, each(open - many));
    sleep(SETTLE).await;
    let ended = kib(&relay)?;
    relay.leave().await?;
    let left = kib(&relay)?;
    for (about, kib) in [
        ("server memory: nobody there", empty),
        ("… all workers", many),
        ("… and 4,000 streams", open),
        ("… streams and their clients gone", ended),
        ("… all gone", left),
    ] {
        rows.add(about, "MiB", None, kib / 1024.0);
    }
    Ok(())
}

/// Memory when all clients are there and have been answered once, and when each has a stream open.
async fn streams(relay: &Relay) -> Result<(f64, f64)> {
    let (warm, stream) = (small(&relay.target), slow_stream(&relay.target));
    let mut clients = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut client = Client::connect(relay.target.addr).await?;
        client.ask(&warm, |_, _| {}).await?;
        clients.push(client);
    }
    sleep(SETTLE).await;
    let connected = kib(relay)?;
    let (begun, all_begun) = (Cell::new(0), Notify::new());
    let mut open: FuturesUnordered<_> = clients
        .iter_mut()
        .map(|client| {
            let (begun, all_begun, mut first) = (&begun, &all_begun, true);
            let stream = &stream;
            async move {
                client
                    .ask(stream, |_, piece| {
                        begun.set(begun.get() + usize::from(piece.events > 0 && std::mem::take(&mut first)));
                        if begun.get() == STREAMS {
                            all_begun.notify_one();
                        }
                    })
                    .await
            }
        })
        .collect();
    let all_open = async {
        all_begun.notified().await;
        sleep(SETTLE).await;
    };
    tokio::select! {
        Some(ended) = open.next() => bail!("a stream ended that should stay open: {ended:?}"),
        () = all_open => {}
    }
    Ok((connected, kib(relay)?))
}

fn kib(relay: &Relay) -> Result<f64> {
    Ok(relay.usage()?.rss_kib as f64)
}
