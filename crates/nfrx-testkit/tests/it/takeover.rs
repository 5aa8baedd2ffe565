//! One id, two connections: only the same agent takes its place over.

use std::time::Duration;

use http::StatusCode;
use nfrx_testkit::relay::{AgentPlan, Relay, config};
use serde_json::json;
use tokio::time::Instant;

use crate::ask::{assert_alive, chat, open, piece, rest};

// Seen to fail: when anybody may take over.
#[tokio::test(start_paused = true)]
async fn another_agent_with_the_same_id_is_refused_while_the_first_lives() {
    let relay = Relay::start(config(&[]));
    let first = AgentPlan::new("a", 2).join(&relay.entrance()).await;
    let mut client = relay.client().await;
    let members = json!({ "stream": true, "x_sim_tokens": 30, "x_sim_tokens_per_second": 10 });
    let mut body = open(&mut client, chat(&members)).await;
    piece(&mut body).await.expect("more").expect("a good one");
    let mut plan = AgentPlan::new("a", 2);
    plan.reconnect = false;
    let mut second = plan.start(&relay.entrance());
    second.ended().await.expect_err("refused");
    let (text, clean) = rest(&mut body).await;
    assert!(clean && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_alive(&relay, &first).await;
    assert_eq!(second.sim().started(), 0);
    // Once the first is gone, the id is free.
    first.kill();
    let heir = AgentPlan::new("a", 2).join(&relay.entrance()).await;
    assert_alive(&relay, &heir).await;
}

// Seen to fail: when its token is not looked at.
#[tokio::test(start_paused = true)]
async fn an_agent_that_lost_its_path_takes_over_and_its_old_end_leaves_it_alone() {
    let relay = Relay::start(config(&[]));
    let agent = AgentPlan::new("a", 2).join(&relay.entrance()).await;
    let mut client = relay.client().await;
    let members = json!({ "stream": true, "x_sim_tokens": 3000, "x_sim_tokens_per_second": 10 });
    let mut old = open(&mut client, chat(&members)).await;
    piece(&mut old).await.expect("more").expect("a good one");
    // The server does not know yet that the first connection is dead.
    agent.tunnel().lose_left();
    let start = Instant::now();
    agent.until(|status| !status.connected_to_server).await;
    agent.connected().await;
    // Without the token it would have to wait until the old end expires, after 15 s.
    assert!(start.elapsed() < Duration::from_secs(2), "back after {:?}", start.elapsed());
    let (_, clean) = rest(&mut old).await;
    assert!(!clean, "what the old tunnel carried is broken");
    assert_eq!(agent.tunnels().len(), 2);
    // Long enough for the old end to expire, if it were still there.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let llm = relay.until(|_| true).await;
    assert_eq!(llm["workers"].as_array().map(Vec::len), Some(1), "{llm}");
    assert_eq!(llm["workers"][0]["inflight"], 0);
    assert_eq!(relay.ask(chat(&json!({}))).await.status(), StatusCode::OK);
    assert_eq!(agent.tunnels().len(), 2, "the successor was touched");
}
