//! Clients that flood a connection of HTTP/2 with frames that cost them nothing: it is ended
//! with a word and counted, and others go on meanwhile.

use http::StatusCode;
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::raw::h2::{self, END_HEADERS, END_STREAM, Kind, field, frame};
use nfrx_testkit::relay::{API_KEY, AgentPlan, LOCAL, REMOTE, Relay, config, patiently};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::ask::{CHAT, chat};

/// The code with which HTTP/2 says that it was too much.
const ENHANCE_YOUR_CALM: u32 = 11;
const FLOW_CONTROL_ERROR: u32 = 3;

/// How many were refused for this reason.
async fn refused(relay: &Relay, reason: &str) -> u64 {
    relay.sample(&series(reason)).await.expect("it is served from zero")
}

fn series(reason: &str) -> String {
    format!("nfrx_server_refused_total{{reason=\"{reason}\"}}")
}

/// Says all of `bytes` on a connection of its own, if the server lets it, and gives the code
/// of the goodbye that it gets.
async fn flood(relay: &Relay, bytes: &[u8]) -> Option<u32> {
    let (mut heard, mut said) = tokio::io::split(relay.dial(PipeOptions::default(), REMOTE).0);
    let hearing = async {
        let mut answer = Vec::new();
        let _ = heard.read_to_end(&mut answer).await;
        answer
    };
    // The server ends it before all is said: that is what is wanted.
    let (answer, _) = patiently(async { tokio::join!(hearing, said.write_all(bytes)) }).await;
    codes(&answer, Kind::GoAway, 4).last().map(|(_, code)| *code)
}

/// The whole frames among these bytes: of this kind: stream, and the code at this place of the payload.
fn codes(mut bytes: &[u8], kind: Kind, at: usize) -> Vec<(u32, u32)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = number(&[0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if head[3] == kind as u8 {
            found.push((number(&head[5..]), number(&payload[at..at + 4])));
        }
        bytes = rest;
    }
    found
}

/// An open request whose body is to come.
fn opened() -> Vec<u8> {
    [h2::hello(), frame(Kind::Headers, END_HEADERS, 1, &h2::post(CHAT, API_KEY))].concat()
}

fn after(begin: &[u8], many: &[u8], times: usize) -> Vec<u8> {
    [begin, &many.repeat(times)].concat()
}

/// Checks that this is ended and counted once, and that others are served meanwhile.
async fn check(name: &str, bytes: &[u8]) {
    let relay = Relay::start(config(&[]));
    let agent = AgentPlan::new("a", 4).join(&relay.entrance()).await;
    let mut honest = relay.client().await;
    let others = async {
        for _ in 0..20 {
            let answer = patiently(honest.ask(chat(&json!({})))).await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK, "{name}");
        }
    };
    let (code, ()) = tokio::join!(flood(&relay, bytes), others);
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name}");
    assert_eq!(refused(&relay, "http2_flood").await, 1, "{name}");
    assert_eq!(agent.tunnels().len(), 1, "{name}: no tunnel ended for it");
    relay.until(|llm| llm["workers"][0]["inflight"] == 0).await;
}

// Seen to fail: without the end of a connection whose frames are too many.
#[tokio::test(start_paused = true)]
async fn who_floods_frames_is_ended_and_others_are_served() {
    let window = |stream: u32, by: u32| frame(Kind::WindowUpdate, 0, stream, &by.to_be_bytes());
    check("pings", &after(&h2::hello(), &frame(Kind::Ping, 0, 0, &[0; 8]), 40_000)).await;
    check("answers to pings", &after(&h2::hello(), &frame(Kind::Ping, 1, 0, &[0; 8]), 40_000)).await;
    check("settings", &after(&h2::hello(), &frame(Kind::Settings, 0, 0, b""), 40_000)).await;
    check("windows of a byte", &after(&h2::hello(), &window(0, 1), 40_000)).await;
    check("windows of a stream", &after(&opened(), &window(1, 1), 40_000)).await;
    check("priorities", &after(&h2::hello(), &frame(Kind::Priority, 0, 3, &[0, 0, 0, 1, 0]), 40_000)).await;
    check("padding", &after(&opened(), &frame(Kind::Data, 8, 1, &[3, 0, 0, 0]), 40_000)).await;
}

// Seen to fail: without the look at why h2 ended a connection.
#[tokio::test(start_paused = true)]
async fn what_h2_bounds_by_itself_is_counted_the_same() {
    let head = frame(Kind::Headers, 0, 1, &h2::get("/healthz"));
    let begun = [h2::hello(), head].concat();
    check("continuations", &after(&begun, &frame(Kind::Continuation, 0, 1, &field("x", "y")), 40_000)).await;
    check("empty continuations", &after(&begun, &frame(Kind::Continuation, 0, 1, b""), 40_000)).await;
    check("empty data", &after(&opened(), &frame(Kind::Data, 0, 1, b""), 40_000)).await;
    let mut resets = h2::hello();
    for stream in (1..2_000).step_by(2) {
        resets.extend(frame(Kind::Headers, END_HEADERS, stream, &h2::post(CHAT, API_KEY)));
        resets.extend(frame(Kind::RstStream, 0, stream, &8u32.to_be_bytes()));
    }
    check("resets", &resets).await;
}

// Seen to fail: with only floods counted of what h2 ends.
#[tokio::test(start_paused = true)]
async fn a_window_that_overflows_ends_the_connection_as_malformed() {
    let relay = Relay::start(config(&[]));
    let overflow = frame(Kind::WindowUpdate, 0, 0, &0x7fff_ffffu32.to_be_bytes());
    assert_eq!(flood(&relay, &after(&h2::hello(), &overflow, 2)).await, Some(FLOW_CONTROL_ERROR));
    assert_eq!((refused(&relay, "malformed").await, refused(&relay, "http2_flood").await), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn streams_over_the_bound_are_refused_alone_and_counted() {
    let relay = Relay::start(config(&[]));
    let mut bytes = h2::hello();
    let streams_max = config(&[]).limits.streams_max;
    // Bodies that don't come hold their streams open.
    for nth in 0..streams_max + 3 {
        bytes.extend(frame(Kind::Headers, END_HEADERS, 2 * nth + 1, &h2::post(CHAT, API_KEY)));
    }
    let (mut client, control) = relay.dial(PipeOptions::default(), LOCAL);
    client.write_all(&bytes).await.expect("the server reads");
    let mut heard = Vec::new();
    while codes(&heard, Kind::RstStream, 0).len() < 3 {
        patiently(client.read_buf(&mut heard)).await.expect("the connection stands");
    }
    let over = (streams_max..streams_max + 3).map(|nth| (2 * nth + 1, 7));
    assert_eq!(codes(&heard, Kind::RstStream, 0), over.collect::<Vec<_>>(), "REFUSED_STREAM for those only");
    control.cut();
    // Seen to fail: without the count of streams.
    relay.until_sample(&series("http2_streams"), 3).await;
}

// Seen to fail: with frames that what was written does not pay for.
#[tokio::test(start_paused = true)]
async fn who_reads_and_asks_much_is_never_taken_for_a_flood() {
    let relay = Relay::start(config(&[]));
    let ask = |nth: u32| frame(Kind::Headers, END_HEADERS | END_STREAM, 2 * nth + 1, &h2::get("/healthz"));
    let (mut client, _control) = relay.dial(PipeOptions::default(), LOCAL);
    client.write_all(&h2::hello()).await.expect("the server reads");
    let mut heard = vec![0; 64 * 1024];
    for nth in 0..15_000 {
        client.write_all(&ask(nth)).await.expect("the connection stands");
        client.write_all(&frame(Kind::WindowUpdate, 0, 0, &64u32.to_be_bytes())).await.expect("so it does");
        let read = patiently(client.read(&mut heard)).await.expect("an answer");
        assert!(read > 0, "ended after {nth} requests");
    }
    assert_eq!(refused(&relay, "http2_flood").await, 0);
}
