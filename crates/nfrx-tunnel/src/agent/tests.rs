//! The agent's end against a relay in the hand of a test, most of which don't do their part.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use nfrx_runtime::{Drain, DrainWatch};
use nfrx_spi::{Body, BoxFuture, CallError, Heartbeat, Io};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{AgentService, Ended, Identity, Offer, Session, Shared, serve};
use crate::limits;
use crate::link::{LinkState, Loss};
use crate::v1;
use crate::ws_io::WsIo;

struct Nothing;

impl AgentService for Nothing {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(std::future::pending())
    }
}

/// Answers with 2 MiB.
struct Large;

impl AgentService for Large {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async { Ok(Response::new(Body::from(Bytes::from(vec![0; 2 << 20])))) })
    }
}

/// Answers with a piece whenever told to, and counts how often it is asked for one.
struct OneByOne {
    asked: Arc<AtomicUsize>,
    pieces: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

impl AgentService for OneByOne {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let mut pieces = self.pieces.lock().unwrap().take().expect("asked once");
        let asked = Arc::clone(&self.asked);
        let frames = futures_util::stream::poll_fn(move |cx| {
            asked.fetch_add(1, Ordering::Relaxed);
            pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        });
        Box::pin(async { Ok(Response::new(Body::stream(StreamBody::new(frames)))) })
    }
}

fn session(drain: DrainWatch) -> (Session, watch::Sender<Offer>) {
    let (offers, offer) = watch::channel(Offer::default());
    let session = Session {
        identity: Arc::new(Identity::default()),
        offer,
        service: Arc::new(Nothing),
        heartbeat: Arc::new(Heartbeat::default),
        drain,
        state: watch::Sender::new(LinkState::Connecting),
        resume: Shared::default(),
        heard: Shared::default(),
    };
    (session, offers)
}

/// A relay that speaks HTTP/2 and never opens the control stream.
async fn idle_relay(io: DuplexStream) {
    let io: Pin<Box<dyn Io>> = Box::pin(io);
    let io = WsIo::new(io, Role::Server, Box::new(|| {})).await;
    let (_send, connection) = limits::client().handshake::<_, Bytes>(io).await.expect("a handshake");
    let _ = connection.await;
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_never_opens_the_control_stream_is_left() {
    // Seen to fail: without the deadline the agent waits for ever.
    let (ours, theirs) = duplex(4096);
    let (session, _offers) = session(Drain::new().watch());
    let both = async { tokio::join!(serve(Box::pin(ours), &session), idle_relay(theirs)).0 };
    let ended = tokio::time::timeout(Duration::from_secs(60), both).await;
    assert!(matches!(ended, Ok(Ended::Lost(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_relay_that_never_opens_the_control_stream() {
    let (ours, theirs) = duplex(4096);
    let drain = Drain::new();
    let (session, _offers) = session(drain.watch());
    drain.begin();
    let both = async { tokio::join!(serve(Box::pin(ours), &session), idle_relay(theirs)).0 };
    let ended = tokio::time::timeout(Duration::from_secs(5), both).await;
    assert_eq!(ended, Ok(Ended::Drained));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_upgrades_and_says_nothing_is_left() {
    let (ours, _theirs) = duplex(4096);
    let (session, _offers) = session(Drain::new().watch());
    let ended = tokio::time::timeout(Duration::from_secs(60), serve(Box::pin(ours), &session)).await;
    assert!(matches!(ended, Ok(Ended::Lost(_))), "{ended:?}");
}

// Seen to fail: with silence judged only after a first pong (86 s), and with bytes of a message
// that is not complete heard as silence.
#[tokio::test(start_paused = true)]
async fn a_v1_server_is_lost_after_three_heartbeats_without_a_byte_and_not_before() {
    let (ours, mut theirs) = duplex(64);
    let (session, _offers) = session(Drain::new().watch());
    let dripping = async {
        theirs.write_all(&head(1, 1000)).await.expect("room for it");
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            theirs.write_all(b"x").await.expect("room for it");
        }
        Instant::now()
    };
    let serving = async { (v1::agent::serve(Box::pin(ours), &session).await, Instant::now()) };
    let ((ended, at), last) = tokio::join!(serving, dripping);
    assert_eq!(ended, Ended::Lost(Loss::silence("nothing came from the server for too long")));
    let silent = at - last;
    assert!((Duration::from_secs(10)..=Duration::from_secs(21)).contains(&silent), "{silent:?}");
}

/// A WebSocket frame as a server sends it, of which only the head says `length`.
fn head(opcode: u8, length: u64) -> Vec<u8> {
    let mut head = vec![0x80 | opcode, 127];
    head.extend(length.to_be_bytes());
    head
}

fn message(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&head(opcode, payload.len() as u64), payload].concat()
}

/// What an agent of either carrier says of a server that sends these bytes.
async fn end_of(is_h2: bool, bytes: Vec<u8>) -> Loss {
    let (ours, theirs) = duplex(64 * 1024);
    let (session, _offers) = session(Drain::new().watch());
    let io: Pin<Box<dyn Io>> = Box::pin(ours);
    let serving = async {
        match is_h2 {
            true => serve(io, &session).await,
            false => v1::agent::serve(io, &session).await,
        }
    };
    let (mut incoming, mut outgoing) = tokio::io::split(theirs);
    let relay = async {
        let mut heard = Vec::new();
        // The agent may end it before all is said.
        let _ = tokio::join!(outgoing.write_all(&bytes), incoming.read_to_end(&mut heard));
        std::future::pending().await
    };
    let both = async {
        tokio::select! {
            ended = serving => ended,
            never = relay => never,
        }
    };
    match tokio::time::timeout(Duration::from_secs(5), both).await {
        Ok(Ended::Lost(loss)) => loss,
        other => panic!("{other:?}"),
    }
}

/// More than a server may send of what carries nothing.
const MANY: usize = 110_000;

#[tokio::test(start_paused = true)]
async fn a_relay_that_floods_is_left() {
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const PING: u8 = 9;
    let mut hello = message(BINARY, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let windows = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01".repeat(MANY);
    windows.chunks(100_000).for_each(|piece| hello.extend(message(BINARY, piece)));
    let cancel = message(TEXT, br#"{"type":"http_proxy_cancel","request_id":"x"}"#).repeat(MANY);
    // Seen to fail: without the count of frames, and without the charge for messages.
    for (is_h2, bytes) in [
        (true, hello),
        (true, message(PING, b"").repeat(MANY)),
        (false, message(PING, b"").repeat(MANY)),
        (false, cancel),
    ] {
        let loss = end_of(is_h2, bytes).await;
        // Seen to fail: with the reason left out on its way to the metric.
        assert!(loss.reason == "flood" && loss.to_string().contains("floods"), "{loss:?}");
    }
    // Seen to fail: with the limits of the library's own defaults.
    for (is_h2, length) in [(true, limits::MESSAGE_BYTES_MAX as u64 + 1), (false, 1 << 40)] {
        let loss = end_of(is_h2, head(BINARY, length)).await;
        assert!(loss.reason == "message_bytes" && loss.to_string().contains("too long"), "{loss:?}");
    }
}

/// A relay that asks for something, and reads the answer.
async fn ask<T>(io: DuplexStream, read: impl AsyncFnOnce(RecvStream) -> T) -> T {
    let io: Pin<Box<dyn Io>> = Box::pin(io);
    let io = WsIo::new(io, Role::Server, Box::new(|| {})).await;
    let (mut send, connection) = limits::client().handshake::<_, Bytes>(io).await.expect("a handshake");
    let request = Request::get("http://worker/x").body(()).unwrap();
    let (answer, _) = send.send_request(request, true).unwrap();
    tokio::select! {
        read = async { read(answer.await.expect("an answer").into_body()).await } => read,
        ended = connection => panic!("{ended:?}"),
    }
}

/// The longest frame in the second half of an answer, over a line that takes so many bytes a
/// millisecond.
async fn frames_over(line: usize) -> usize {
    let ((ours, far), (near, theirs)) = (duplex(line), duplex(line));
    let (idle, _offers) = session(Drain::new().watch());
    let session = Session { service: Arc::new(Large), ..idle };
    let ((mut far, mut back), (mut near, mut on)) = (tokio::io::split(far), tokio::io::split(near));
    let up = async {
        let mut bytes = vec![0; line];
        while let Ok(length @ 1..) = far.read(&mut bytes).await {
            on.write_all(&bytes[..length]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let down = tokio::io::copy(&mut near, &mut back);
    let frames = ask(theirs, async |mut body| {
        let mut frames = Vec::new();
        while let Some(frame) = body.data().await {
            frames.push(frame.expect("unbroken").len());
            body.flow_control().release_capacity(frames[frames.len() - 1]).unwrap();
        }
        frames
    });
    tokio::select! {
        frames = frames => *frames[frames.len() / 2..].iter().max().expect("frames"),
        ended = serve(Box::pin(ours), &session) => panic!("{ended:?}"),
        ended = async { tokio::join!(up, down) } => panic!("{ended:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_cut_by_what_the_line_takes_in_a_turn() {
    // 20 Mbit/s take 12,500 bytes in 5 ms. Seen to fail: with pieces as long as frames may be.
    let slow = frames_over(2_500).await;
    assert!((10_000..16_000).contains(&slow), "{slow}");
    // Seen to fail: with short pieces on every line.
    assert_eq!(frames_over(64 * 1024).await, limits::FRAME_BYTES as usize);
}

#[tokio::test(start_paused = true)]
async fn a_piece_costs_two_looks_at_its_answer() {
    let (ours, theirs) = duplex(4096);
    let (idle, _offers) = session(Drain::new().watch());
    let (piece, pieces) = mpsc::channel(1);
    let asked = Arc::<AtomicUsize>::default();
    let service = OneByOne { asked: Arc::clone(&asked), pieces: Mutex::new(Some(pieces)) };
    let session = Session { service: Arc::new(service), ..idle };
    let reading = ask(theirs, async |mut body| {
        for nth in 0..10 {
            let before = asked.load(Ordering::Relaxed);
            piece.try_send(Bytes::from_static(b"a token")).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), "a token");
            // The first may come while the head is on its way. Seen to fail: with another look
            // after the piece was sent, and with a reset waited for before that.
            assert!(nth == 0 || asked.load(Ordering::Relaxed) - before == 2, "{nth}: {asked:?}");
        }
    });
    tokio::select! {
        () = reading => {}
        ended = serve(Box::pin(ours), &session) => panic!("{ended:?}"),
    }
}
