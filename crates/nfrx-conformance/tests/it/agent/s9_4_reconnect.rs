//! Worker protocol §9.4: dialing again.

use std::time::Duration;

use nfrx_conformance::server::request;
use nfrx_testkit::relay::AgentPlan;
use tokio::time::Instant;

use super::Rig;

#[tokio::test(start_paused = true)]
async fn it_is_off_unless_asked_for() {
    let mut rig = Rig::with(AgentPlan { reconnect: false, ..AgentPlan::new("a", 1) }, &["m"]);
    let (tunnel, _) = rig.server.registered().await;
    tunnel.pipe.cut();
    assert!(rig.agent.ended().await.is_err());
}

// KD-39: each wait give or take a fifth. Seen to fail: with the schedule's first step left out.
#[tokio::test(start_paused = true)]
async fn the_waits_are_those_of_the_schedule() {
    let rig = Rig::new();
    let mut last = Instant::now();
    let waits =
        [250, 500].into_iter().chain([1000; 10]).chain([5000; 3]).chain([15_000; 2]).chain([30_000; 3]);
    for (nth, millis) in std::iter::once(0).chain(waits).enumerate() {
        let (_, io, _) = rig.server.knock().await;
        let waited = last.elapsed().as_secs_f64();
        let expected = f64::from(millis) / 1000.0;
        assert!((expected * 0.8 - 0.1..=expected * 1.2 + 0.1).contains(&waited), "wait {nth}: {waited}");
        drop(io);
        last = Instant::now();
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_it_registers_afresh_with_the_same_id() {
    let (rig, tunnel) = Rig::registered().await;
    tunnel.pipe.cut();
    let (_tunnel, said) = rig.server.registered().await;
    assert_eq!((&said["worker_id"], &said["models"][0]), (&serde_json::json!("a"), &serde_json::json!("m")));
}

#[tokio::test(start_paused = true)]
async fn a_stable_connection_starts_the_schedule_anew() {
    let rig = Rig::new();
    for _ in 0..6 {
        drop(rig.server.knock().await);
    }
    let (mut tunnel, _) = rig.server.registered().await;
    for _ in 0..8 {
        tunnel.socket.hear_a("heartbeat").await;
    }
    tunnel.pipe.cut();
    let lost = Instant::now();
    rig.server.registered().await;
    assert!(lost.elapsed() < Duration::from_secs(2), "{:?}", lost.elapsed());
}

// KD-40. Seen to fail: with the requests of a lost connection left running.
#[tokio::test(start_paused = true)]
async fn the_backends_work_for_a_lost_connection_is_cancelled_at_once() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", "/chat/completions", "{}")).await;
    let mut asked = rig.backend.asked().await;
    let lost = Instant::now();
    tunnel.pipe.cut();
    asked.unwanted().await;
    assert!(lost.elapsed() < Duration::from_millis(50), "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_on_the_upgrade_is_a_failed_dial_like_any_other() {
    for answer in [
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\ndraining\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        use tokio::io::AsyncWriteExt as _;
        let rig = Rig::new();
        let (_, mut io, _pipe) = rig.server.knock().await;
        io.write_all(answer.as_bytes()).await.expect("the agent is there");
        let refused = Instant::now();
        rig.server.registered().await;
        assert!(refused.elapsed() < Duration::from_secs(2), "{answer}: {:?}", refused.elapsed());
    }
}

// §1: dialing and upgrade have fifteen seconds.
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_the_upgrade_is_given_up_after_fifteen_seconds() {
    let rig = Rig::new();
    let (_, _io, _pipe) = rig.server.knock().await;
    let start = Instant::now();
    rig.server.registered().await;
    assert!((15.0..=16.5).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
}
