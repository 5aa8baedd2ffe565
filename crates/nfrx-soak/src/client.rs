//! Clients: they ask one request after the other, and some leave in whatever phase.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use nfrx_testkit::fault::{Dice, FaultyStream, StreamFault};
use nfrx_testkit::http::HttpClient;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::catalog::Entry;
use crate::judge::{Got, judge};
use crate::outcome::Outcomes;

/// Every request ends within this, whatever breaks: a tunnel whose path is dead is noticed
/// after 15 s, and the next worker may have the same luck.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many bytes of a wrong answer are shown, from its beginning and from its end.
const SHOWN: usize = 300;

/// What all clients share.
pub(crate) struct Crowd {
    pub(crate) server: SocketAddr,
    pub(crate) entries: Vec<Entry>,
    pub(crate) outcomes: Outcomes,
}

/// When a client leaves, if it does.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    Never,
    /// So long after it asked, wherever the request is then.
    After(Duration),
    /// Once it has so many bytes of the body.
    InBody(usize),
    /// With half of its own body sent.
    HalfSent(Duration),
    /// Not at all, but it stops reading for so long.
    Rests(Duration),
}

impl Leaves {
    fn draw(dice: &mut Dice) -> Self {
        if !dice.one_in(10) {
            return Self::Never;
        }
        match dice.within(0..4) {
            0 => Self::After(dice.millis(0..60)),
            1 => Self::InBody(dice.bytes(1 << 14) as usize),
            2 => Self::HalfSent(dice.millis(0..60)),
            _ => Self::Rests(dice.millis(10..500)),
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Never => None,
            Self::After(_) => Some("client left"),
            Self::InBody(_) => Some("client left within an answer"),
            Self::HalfSent(_) => Some("client left with half of its request sent"),
            Self::Rests(_) => Some("client stopped reading for a while"),
        }
    }
}

/// One client, who asks until `until`.
pub(crate) async fn run(crowd: Arc<Crowd>, mut dice: Dice, until: Instant) {
    let mut kept = None;
    while Instant::now() < until {
        let entry = pick(&crowd.entries, &mut dice);
        let leaves = Leaves::draw(&mut dice);
        let client = match kept.take() {
            Some(client) => client,
            None => match connect(&crowd, &mut dice).await {
                Some(client) => client,
                None => continue,
            },
        };
        for fault in [entry.fault, leaves.name()].into_iter().flatten() {
            crowd.outcomes.faults.add(fault);
        }
        kept = one(&crowd, client, entry, leaves).await.filter(|_| !dice.one_in(8));
    }
}

/// Mostly what a backend answers soundly.
fn pick<'a>(entries: &'a [Entry], dice: &mut Dice) -> &'a Entry {
    let wants_fault = dice.one_in(14);
    loop {
        let entry = dice.pick(entries);
        if entry.fault.is_some() == wants_fault {
            return entry;
        }
    }
}

async fn connect(crowd: &Crowd, dice: &mut Dice) -> Option<HttpClient> {
    let socket = TcpStream::connect(crowd.server).await.ok()?;
    socket.set_nodelay(true).ok()?;
    let fault = match dice.one_in(12).then(|| StreamFault::draw(dice)) {
        // Nobody is told of it, so the client itself would wait for ever.
        Some(StreamFault::Dead) => Some(StreamFault::Cut),
        fault => fault,
    };
    let after = dice.bytes(1 << 20);
    HttpClient::over(FaultyStream::new(socket, fault, after, crowd.outcomes.faults.clone())).await.ok()
}

/// Asks, and notes how it ended. Gives the client back when it may ask again.
async fn one(crowd: &Crowd, mut client: HttpClient, entry: &Entry, leaves: Leaves) -> Option<HttpClient> {
    let outcomes = &crowd.outcomes;
    let Ok(got) = tokio::time::timeout(PATIENCE, ask(&mut client, entry, leaves)).await else {
        outcomes.violate(format!("no end within {PATIENCE:?}: {}, {leaves:?}", tell(entry)));
        outcomes.ends.add("NO END");
        return None;
    };
    let Some(got) = got else {
        outcomes.ends.add("left");
        return None;
    };
    match judge(entry, &got) {
        Ok(end) => outcomes.ends.add(end),
        Err(problem) => {
            outcomes.ends.add("WRONG");
            outcomes.violate(format!("{problem}: {}, {leaves:?}\n{}", tell(entry), show(&got)));
        }
    }
    got.whole.then_some(client)
}

/// Asks; `None` when the client left.
async fn ask(client: &mut HttpClient, entry: &Entry, leaves: Leaves) -> Option<Got> {
    let request = entry.request.clone();
    match leaves {
        Leaves::After(span) => {
            return tokio::time::timeout(span, read(client.send(request).await, leaves)).await.ok().flatten();
        }
        Leaves::HalfSent(span) => {
            let half = request.map(|body| Half(Some(body.slice(..body.len() / 2))));
            // An answer to half a request is none that is expected.
            let _ = tokio::time::timeout(span, client.upload(half)).await;
            return None;
        }
        _ => {}
    }
    read(client.send(request).await, leaves).await
}

async fn read(answer: hyper::Result<nfrx_testkit::http::Streaming>, leaves: Leaves) -> Option<Got> {
    let Ok(answer) = answer else { return Some(Got { status: None, body: Vec::new(), whole: false }) };
    let mut got = Got { status: Some(answer.status()), body: Vec::new(), whole: false };
    let mut body = answer.into_body();
    if let Leaves::Rests(span) = leaves {
        tokio::time::sleep(span).await;
    }
    loop {
        match body.frame().await {
            Some(Ok(frame)) => got.body.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return Some(got),
            None => {
                got.whole = true;
                return Some(got);
            }
        }
        if matches!(leaves, Leaves::InBody(bytes) if got.body.len() > bytes) {
            return None;
        }
    }
}

/// A body that gives what it has and never ends.
struct Half(Option<Bytes>);

impl http_body::Body for Half {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            // Whoever holds it leaves.
            None => Poll::Pending,
        }
    }
}

fn tell(entry: &Entry) -> String {
    let body = entry.request.body();
    let begin = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned();
    format!("{:?} {} {begin:?}", entry.kind, entry.request.uri())
}

fn show(got: &Got) -> String {
    let Got { status, body, whole } = got;
    let (begin, end) = (&body[..body.len().min(SHOWN)], &body[body.len().saturating_sub(SHOWN)..]);
    let (begin, end) = (String::from_utf8_lossy(begin), String::from_utf8_lossy(end));
    format!("  status {status:?}, {} bytes, whole: {whole}\n  {begin:?}\n  … {end:?}", body.len())
}
