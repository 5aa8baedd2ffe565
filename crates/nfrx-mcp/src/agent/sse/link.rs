//! One stream of events and the POSTs beside it, as the standard streams of a process.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use nfrx_spi::Body;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::events::Events;
use crate::agent::http_upstream::HttpUpstream;
use crate::agent::stdio::{LINE_BYTES_MAX, Line, Lines, failure_of};
use crate::agent::talk::is_events;

/// How long the stream may take to open and to name the address for POSTs.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// A longer address is none.
const ADDRESS_BYTES_MAX: usize = 8 * 1024;
/// POSTs that the server has not answered, at once.
const POSTS_MAX: usize = 64;
/// A message waits so long for the answer to the one before: they should arrive in order, and a
/// server may keep an answer back until its work is done.
const TURN_MAX: Duration = Duration::from_secs(1);
/// What a POST is answered with has no meaning; so much is read to keep the connection, and for
/// so long.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Runs until the server has ended, and says why; or until `told` is let go of.
pub(super) async fn run(server: HttpUpstream, told: DuplexStream, says: DuplexStream) -> Option<String> {
    let (lines, to_tell) = mpsc::channel(1);
    tokio::select! {
        biased;
        () = read(told, lines) => None,
        why = speak(&server, to_tell, says) => Some(why),
    }
}

/// Reads what the server is to be told, to the end.
async fn read(told: DuplexStream, lines: mpsc::Sender<Bytes>) {
    let mut told = Lines::new(told, LINE_BYTES_MAX);
    while let Some(Line::Whole(line)) = told.next().await {
        if lines.send(line).await.is_err() {
            // It has ended, and says so.
            std::future::pending::<()>().await;
        }
    }
}

async fn speak(server: &HttpUpstream, to_tell: mpsc::Receiver<Bytes>, says: DuplexStream) -> String {
    let late = |_| Err(format!("the MCP server named no address within {} s", OPEN_MAX.as_secs()));
    let (events, address) = match timeout(OPEN_MAX, open(server)).await.unwrap_or_else(late) {
        Ok(opened) => opened,
        Err(why) => return why,
    };
    let (said, to_say) = mpsc::channel(1);
    let mut writing = std::pin::pin!(write(says, to_say));
    let why = tokio::select! {
        why = hear(events, said.clone()) => why,
        never = tell(server, &address, to_tell, said) => match never {},
        // Nobody listens any more.
        () = writing.as_mut() => return String::new(),
    };
    // What it said before is still to be heard.
    writing.await;
    why
}

/// Opens the stream, and learns the target of POSTs.
async fn open(server: &HttpUpstream) -> Result<(Events, String), String> {
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
    let own = server.endpoint().target("/", None);
    let opened = server.exchange(Method::GET, &own, headers, Body::empty()).await;
    let answer = opened.map_err(|error| format!("the stream of events can't be opened: {error}"))?;
    if answer.status() != StatusCode::OK || !is_events(answer.headers()) {
        let status = answer.status().as_u16();
        return Err(format!("the MCP server has no stream of events at its address (status {status})"));
    }
    let mut events = Events::new(answer.into_body(), LINE_BYTES_MAX);
    loop {
        let event = events.next().await.map_err(|end| end.to_string())?;
        if event.name != "endpoint" {
            continue;
        }
        let [address] = &*event.data else { return Err("the MCP server named no address".to_owned()) };
        let text = std::str::from_utf8(address).ok().filter(|text| text.len() <= ADDRESS_BYTES_MAX);
        let target = text.and_then(|text| server.endpoint().redirected(&own, text.trim()));
        let elsewhere = || "the MCP server named an address of another host, which is not asked".to_owned();
        return Ok((events, target.ok_or_else(elsewhere)?));
    }
}

/// Hears the server out; gives the reason of the end.
async fn hear(mut events: Events, said: mpsc::Sender<Bytes>) -> String {
    loop {
        let event = match events.next().await {
            Ok(event) => event,
            Err(end) => return end.to_string(),
        };
        // Between the lines of a message stands white space.
        let line = Bytes::from(event.data.join(&b' '));
        if (event.name.is_empty() || event.name == "message") && said.send(line).await.is_err() {
            return String::new();
        }
    }
}

/// Writes messages as lines, as long as somebody reads them.
pub(in crate::agent) async fn write(mut says: DuplexStream, mut to_say: mpsc::Receiver<Bytes>) {
    while let Some(line) = to_say.recv().await {
        if says.write_all(&line).await.is_err() || says.write_all(b"\n").await.is_err() {
            return;
        }
    }
}

/// Tells the server everything, in order. A request that it does not take is answered here.
async fn tell(
    server: &HttpUpstream,
    address: &str,
    mut to_tell: mpsc::Receiver<Bytes>,
    said: mpsc::Sender<Bytes>,
) -> std::convert::Infallible {
    let mut posts = FuturesUnordered::new();
    let (mut newest, mut turn) = (0_u64, None::<Instant>);
    loop {
        let has_turn = turn.is_none_or(|turn| turn <= Instant::now());
        tokio::select! {
            biased;
            Some((number, line, taken)) = posts.next() => {
                if number == newest {
                    turn = None;
                }
                if let Err::<(), String>(why) = taken {
                    warn!(server = %server.endpoint(), why, "the MCP server did not take a message");
                    if let Some(answer) = failure_of(&line, &why) {
                        // Whoever listens is gone with its session.
                        let _ = said.send(answer).await;
                    }
                }
            }
            Some(line) = to_tell.recv(), if has_turn && posts.len() < POSTS_MAX => {
                newest += 1;
                turn = Some(Instant::now() + TURN_MAX);
                let number = newest;
                posts.push(async move { (number, line.clone(), post(server, address, line).await) });
            }
            () = sleep_until(turn.unwrap_or_else(Instant::now)), if !has_turn => {}
            else => std::future::pending().await,
        }
    }
}

/// Sends a message. How long the server may take for the head of its answer is the agent's
/// `REQUEST_TIMEOUT`: some answer when the work is done.
async fn post(server: &HttpUpstream, address: &str, line: Bytes) -> Result<(), String> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let answer = server.exchange(Method::POST, address, headers, Body::from(line)).await;
    let answer = answer.map_err(|error| format!("the MCP server was not told: {error}"))?;
    let status = answer.status();
    // However it ends: it is of no interest, but for the connection.
    let _ = timeout(ANSWER_MAX, Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect()).await;
    match status.is_success() {
        true => Ok(()),
        false => Err(format!("the MCP server answered a message with status {}", status.as_u16())),
    }
}
