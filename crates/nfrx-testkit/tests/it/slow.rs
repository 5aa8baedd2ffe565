//! Clients that stop reading: their slowness is their own, and what waits for them is
//! bounded.

use std::time::Duration;

use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::raw::h2::{self, END_HEADERS, END_STREAM, Kind, frame};
use nfrx_testkit::relay::{API_KEY, AgentPlan, LOCAL, Relay, TestAgent, config, patiently};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ask::{CHAT, assert_alive, chat, longest_gap, open, piece, rest};

/// A little more than the time between two tokens of [`paced`].
const GAP_MAX: Duration = Duration::from_millis(105);

/// Ten tokens a second.
fn paced(seconds: u32) -> Value {
    json!({ "stream": true, "x_sim_tokens": seconds * 10, "x_sim_tokens_per_second": 10 })
}

/// As much as there is room for, in tokens of so many bytes.
fn flood(token_bytes: u32) -> Value {
    json!({ "stream": true, "x_sim_tokens": 50_000_000, "x_sim_token_bytes": token_bytes, "x_sim_flush": true })
}

async fn readers(relay: &Relay, count: usize, seconds: u32) -> JoinSet<Duration> {
    let mut readers = JoinSet::new();
    for _ in 0..count {
        let mut client = relay.client().await;
        let request = chat(&paced(seconds));
        readers.spawn(async move {
            let body = open(&mut client, request).await;
            longest_gap(body).await
        });
    }
    readers
}

fn backend_wrote(agent: &TestAgent) -> u64 {
    agent.backend().pipes().iter().map(|pipe| pipe.written_right()).max().expect("there are requests")
}

// Seen to fail: when the window is given back for what nobody has read.
#[tokio::test(start_paused = true)]
async fn one_that_stops_reading_is_cut_in_time_and_slows_none_of_fifty_others() {
    let relay = Relay::start(config(&[]));
    let agent = AgentPlan::new("a", 60).join(&relay.entrance()).await;
    let small = PipeOptions { capacity: 4096, ..PipeOptions::default() };
    let (mut slow, _) = relay.client_over(small, LOCAL).await;
    let start = Instant::now();
    let mut unread = open(&mut slow, chat(&flood(1000))).await;
    piece(&mut unread).await.expect("more").expect("a good one");
    let readers = readers(&relay, 50, 60).await;
    patiently(agent.sim().wait_until(|stats| stats.cancelled == 1)).await;
    // The stall limit is 30 s, and it is looked at once a second at least.
    let cut_after = start.elapsed().as_secs();
    assert!((29..=33).contains(&cut_after), "cut after {cut_after} s");
    // A stream's window, and the buffers of pipes and sockets on the way.
    assert!(backend_wrote(&agent) < 2 * 1024 * 1024, "{} bytes wait", backend_wrote(&agent));
    for gap in patiently(readers.join_all()).await {
        assert!(gap <= GAP_MAX, "a reader waited {gap:?} for its next token");
    }
    let (_, clean) = rest(&mut unread).await;
    assert!(!clean, "what was cut must not look whole");
    assert_alive(&relay, &agent).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_reading_for_a_minute_goes_on_if_all_of_it_had_room() {
    let relay = Relay::start(config(&[]));
    let agent = AgentPlan::new("a", 60).join(&relay.entrance()).await;
    let mut client = relay.client().await;
    let mut body = open(&mut client, chat(&paced(10))).await;
    piece(&mut body).await.expect("more").expect("a good one");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (text, clean) = rest(&mut body).await;
    assert!(clean && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(agent.sim().finished(), 1);
}

#[tokio::test(start_paused = true)]
async fn sixty_four_that_never_read_small_chunks_cost_neither_pace_nor_tunnel() {
    let relay = Relay::start(config(&[]));
    let agent = AgentPlan::new("a", 100).join(&relay.entrance()).await;
    let small = PipeOptions { capacity: 1024, ..PipeOptions::default() };
    let mut hoard = Vec::new();
    for _ in 0..64 {
        let (mut client, _) = relay.client_over(small, LOCAL).await;
        let body = open(&mut client, chat(&flood(1))).await;
        hoard.push((client, body));
    }
    let readers = readers(&relay, 1, 20).await;
    for gap in patiently(readers.join_all()).await {
        assert!(gap <= GAP_MAX, "the reader waited {gap:?} for its next token");
    }
    assert_eq!(agent.sim().in_flight(), 64, "nobody was cut yet");
    assert!(backend_wrote(&agent) < 2 * 1024 * 1024, "{} bytes wait", backend_wrote(&agent));
    patiently(agent.sim().wait_until(|stats| stats.cancelled == 64)).await;
    assert_alive(&relay, &agent).await;
}

// Seen to fail: with answers watched only until the connection is to close.
#[tokio::test(start_paused = true)]
async fn one_that_asks_after_the_goodbye_of_its_idle_connection_is_cut_as_well() {
    let relay = Relay::start(config(&[]));
    let _agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
    let (mut client, _) = relay.dial(PipeOptions::default(), LOCAL);
    let no_window = frame(Kind::Settings, 0, 0, &[0, 4, 0, 0, 0, 0]);
    client.write_all(&[h2::PREFACE, &no_window].concat()).await.expect("the server reads");
    let request = [
        frame(Kind::Headers, END_HEADERS, 1, &h2::post(CHAT, API_KEY)),
        frame(Kind::Data, END_STREAM, 1, chat(&flood(1000)).body()),
    ];
    let mut unsaid = Some(request.concat());
    let talk = async {
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.expect("the connection stands");
            let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
            client.read_exact(&mut payload).await.expect("the connection stands");
            let say = match head[3] {
                // New streams are taken until the ping behind it is answered.
                kind if kind == Kind::GoAway as u8 => unsaid.take().unwrap_or_default(),
                kind if kind == Kind::Ping as u8 && head[4] == 0 => frame(Kind::Ping, 1, 0, &payload),
                _ => continue,
            };
            client.write_all(&say).await.expect("the server reads");
        }
    };
    tokio::select! {
        never = talk => never,
        () = relay.until_sample("nfrx_server_refused_total{reason=\"write_stall\"}", 1) => {}
    }
}
