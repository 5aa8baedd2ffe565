//! Streams over a slow line between agent and server, alone and while one transfer fills it.
//!
//! The line is `shaper`'s: so much delay each way, the same rate each way, and a short queue, so
//! that what is measured is what the two ends of the tunnel let wait and not a router. A large
//! answer goes the way of the tokens, up from the agent; a large request goes the other way. Both
//! begin inside the window, since that is when tokens are held up.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, interval, sleep};

use super::Bench;
use super::rows::{Goal, Rows};
use crate::figure::{Figure, Work, long_stream, small, upload_json};
use crate::http::{Client, Request};
use crate::load::{self, Times};
use crate::shaper::{Line, Shaper};
use crate::stats::quantile;
use crate::target::{Backend, Target, free_addr, nfrx_over};

/// One way.
const DELAYS: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(100)];
/// 20 Mbit/s.
const BYTES_PER_SECOND: u64 = 20_000_000 / 8;
/// As short as a router with a good queue keeps it, and as many bytes as 50 ms of delay take.
const QUEUE: Duration = Duration::from_millis(20);
const STREAMS: usize = 8;
const PER_SECOND: u64 = 20;
/// Until all streams speak.
const WARM_UP: Duration = Duration::from_secs(2);
/// From the window's begin to the transfer's.
const TRANSFER_AFTER: Duration = Duration::from_secs(1);
/// From the transfer's begin until it is as fast as it gets.
const FULL_AFTER: Duration = Duration::from_secs(2);
/// Between two small requests.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Of its rate; gaps on a line that has more room say nothing.
const FILLED_MIN: f64 = 0.5;

/// What gaps may grow by.
const GROWN: Goal = Some((50.0, 20.0));

/// A server, an agent, and the line between them.
struct Path {
    target: Target,
    line: Shaper,
}

/// What one measurement saw, in milliseconds.
struct Seen {
    gap_p50: f64,
    gap_p99: f64,
    gap_most: f64,
    /// How long small requests took.
    asked_p50: f64,
    /// Of the line's rate: from the agent, and to it.
    filled: (f64, f64),
}

pub(super) async fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let backend = Backend::start(&bench.scratch.folder("sim")?).await?;
    for delay in DELAYS {
        let ms = delay.as_millis();
        let path = start(bench, &backend, delay, bench.scratch.folder(&format!("link-{ms}"))?).await?;
        let alone = seen(bench, &path, &backend, None).await.context("streams alone")?;
        let answer =
            seen(bench, &path, &backend, Some(long_stream(&path.target))).await.context("an answer")?;
        let upload =
            seen(bench, &path, &backend, Some(upload_json(&path.target))).await.context("an upload")?;
        let line = format!("{ms} ms each way, 20 Mbit/s");
        rows.add(format!("{line}: p99 gap, 8 streams of 20 tokens/s alone"), "ms", None, alone.gap_p99);
        rows.add(format!("{line}: small request alone, p50"), "ms", None, alone.asked_p50);
        tell(rows, &format!("{line}, an answer fills it"), &alone, &answer, answer.filled.0)?;
        tell(rows, &format!("{line}, an upload fills it"), &alone, &upload, upload.filled.1)?;
    }
    Ok(())
}

fn tell(rows: &mut Rows, name: &str, alone: &Seen, full: &Seen, filled: f64) -> Result<()> {
    if filled < FILLED_MIN {
        bail!("{name}: no, it used {:.0} % of its rate", filled * 100.0);
    }
    rows.add(format!("{name}: p99 gap grown by"), "ms", GROWN, full.gap_p99 - alone.gap_p99);
    for (about, value) in [
        ("p50 gap grown by", full.gap_p50 - alone.gap_p50),
        ("longest gap", full.gap_most),
        ("small request, p50 grown by", full.asked_p50 - alone.asked_p50),
    ] {
        rows.add(format!("{name}: {about}"), "ms", None, value);
    }
    rows.add(format!("{name}: used of its rate"), "%", None, filled * 100.0);
    Ok(())
}

async fn start(bench: &Bench<'_>, backend: &Backend, delay: Duration, folder: PathBuf) -> Result<Path> {
    let addr = free_addr()?;
    let line = Line { delay, bytes_per_second: BYTES_PER_SECOND, queue: QUEUE };
    let line = Shaper::start(line, addr).context("no line")?;
    let target = nfrx_over(bench.nfrx()?, backend, &folder, addr, line.addr()).await?;
    Ok(Path { target, line })
}

/// Measures streams, with one transfer after the other when there is one.
async fn seen(bench: &Bench<'_>, path: &Path, backend: &Backend, bulk: Option<Request>) -> Result<Seen> {
    let work = Work::Paced { streams: STREAMS, per_second: PER_SECOND };
    let figure = Figure { name: "link", about: "paced streams over a slow line", work };
    let times = Times { warm_up: WARM_UP, window: bench.window() * 4, repeats: 1 };
    let (asked, filled) = (RefCell::default(), Cell::new((0.0, 0.0)));
    let beside = async {
        sleep(WARM_UP + TRANSFER_AFTER).await;
        let full = times.window - TRANSFER_AFTER - FULL_AFTER;
        tokio::try_join!(ask(path, &asked), transfer(path, bulk.as_ref()), watch(path, full, &filled))
    };
    let mut observed = tokio::select! {
        observed = load::measure(&figure, &path.target, &backend.process, times) => observed?,
        ended = beside => match ended? {},
    };
    let ms = |times: &mut Vec<Duration>, share| {
        quantile(times, share).map(|time| time.as_secs_f64() * 1e3).context("nothing was measured")
    };
    let gaps = &mut observed.samples.gaps;
    Ok(Seen {
        gap_p50: ms(gaps, 0.5)?,
        gap_p99: ms(gaps, 0.99)?,
        gap_most: ms(gaps, 1.0)?,
        asked_p50: ms(&mut asked.borrow_mut(), 0.5)?,
        filled: filled.get(),
    })
}

/// Asks small things now and then, and remembers how long each took.
async fn ask(path: &Path, took: &RefCell<Vec<Duration>>) -> Result<Infallible> {
    let (request, mut client) = (small(&path.target), Client::connect(path.target.addr).await?);
    let mut turns = interval(ASK_EVERY);
    loop {
        turns.tick().await;
        let answered = client.ask(&request, |_, _| {}).await.context("a small request")?;
        took.borrow_mut().push(answered.ended - answered.began);
    }
}

/// Transfers again and again.
async fn transfer(path: &Path, bulk: Option<&Request>) -> Result<Infallible> {
    let Some(bulk) = bulk else { return pending().await };
    let mut client = Client::connect(path.target.addr).await?;
    loop {
        client.ask(bulk, |_, _| {}).await.context("a transfer")?;
    }
}

/// Notes how much of its rate the line carries once it is full: from the agent, and to it.
async fn watch(path: &Path, window: Duration, filled: &Cell<(f64, f64)>) -> Result<Infallible> {
    sleep(FULL_AFTER).await;
    let (start, carried) = (Instant::now(), path.line.carried());
    let (up, down) = (carried.up(), carried.down());
    sleep(window).await;
    let whole = BYTES_PER_SECOND as f64 * start.elapsed().as_secs_f64();
    filled.set(((carried.up() - up) as f64 / whole, (carried.down() - down) as f64 / whole));
    pending().await
}
