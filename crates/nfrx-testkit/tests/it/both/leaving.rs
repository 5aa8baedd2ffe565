//! Clients that leave together: their requests end at the backend, the tunnel stays.

use std::time::Duration;

use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::{Relay, config, patiently};
use serde_json::{Value, json};

use crate::ask::{Crowd, assert_alive};

/// 200 clients send `members` and leave when all requests are at the backend.
async fn check(members: Value, streaming: bool) {
    let relay = Relay::start(config(&[]));
    let agent = super::plan("a", 250).join(&relay.entrance()).await;
    let mut crowd = Crowd::default();
    crowd.send(&relay, 200, &members, streaming).await;
    patiently(agent.sim().wait_until(|stats| stats.in_flight == 200)).await;
    drop(crowd);
    let stats = patiently(agent.sim().wait_until(|stats| stats.in_flight == 0)).await;
    assert_eq!((stats.cancelled, stats.finished), (200, 0));
    assert_alive(&relay, &agent).await;
}

#[tokio::test(start_paused = true)]
async fn two_hundred_that_leave_while_streaming_are_all_cancelled() {
    check(json!({ "stream": true, "x_sim_tokens": 100_000, "x_sim_tokens_per_second": 20 }), true).await;
}

// Seen to fail: when a call in the tunnel does not watch whether its caller is there.
#[tokio::test(start_paused = true)]
async fn two_hundred_that_leave_before_the_first_byte_are_all_cancelled() {
    check(json!({ "stream": true, "x_sim_first_token_ms": 3_000_000 }), false).await;
}

// Seen to fail: when a call in the tunnel does not watch whether its caller is there.
#[tokio::test(start_paused = true)]
async fn two_hundred_that_leave_a_plain_request_are_all_cancelled() {
    check(json!({ "x_sim_tokens": 100_000, "x_sim_tokens_per_second": 1 }), false).await;
}

#[tokio::test(start_paused = true)]
async fn sixty_that_leave_a_hundred_times_over_a_long_path_cost_no_tunnel() {
    let relay = Relay::start(config(&[]));
    let mut plan = super::plan("a", 250);
    plan.tunnel = PipeOptions { delay: Duration::from_millis(25), ..PipeOptions::default() };
    let agent = plan.join(&relay.entrance()).await;
    // A v1 agent is told nothing when it is registered.
    relay.until(|llm| llm["workers"].as_array().is_some_and(|workers| workers.len() == 1)).await;
    let members = json!({ "stream": true, "x_sim_tokens": 100_000, "x_sim_tokens_per_second": 40 });
    for wave in 1..=100 {
        let mut crowd = Crowd::default();
        crowd.send(&relay, 60, &members, true).await;
        assert_eq!(agent.sim().started(), wave * 60);
    }
    let stats = patiently(agent.sim().wait_until(|stats| stats.in_flight == 0)).await;
    assert_eq!((stats.cancelled, stats.finished), (6000, 0));
    assert_alive(&relay, &agent).await;
}
