//! The end of a server and of an agent.

use nfrx_captioner::agent::Style;
use nfrx_captioner::draw::Drawing;
use nfrx_testkit::relay::patiently;
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{Agent, assert_in_order, many, one, pictures, relay, worker};

// Seen to fail: when the plugin closes its tunnels as soon as the drain begins.
#[tokio::test(start_paused = true)]
async fn a_stopped_server_finishes_its_pictures_and_takes_no_more() {
    let relay = relay(&[]);
    let den = Agent::join(&relay, "den", &Style::ALL, 8).await;
    let tunnel = den.tunnel();
    tunnel.stall();
    let (mut client, mut late) = (relay.client().await, relay.client().await);
    let mut asking = JoinSet::new();
    asking.spawn(async move { client.ask(many("long", &pictures(20))).await.expect("an answer") });
    relay.until_part("captioner", |state| state["server"]["jobs_inflight_total"] == 1).await;
    relay.stop();
    let state = relay.until_part("captioner", |state| state["server"]["state"] == "draining").await;
    assert_eq!(state["server"]["jobs_inflight_total"], 1, "what runs goes on");
    // Whoever is connected is told, or the connection is closed already.
    if let Ok(refused) = patiently(late.ask(one("", Drawing::plain(4, 4, [200, 30, 30]).to_ppm()))).await {
        assert_eq!((refused.status().as_u16(), &refused.json()["error"]["code"]), (503, &json!("draining")));
    }
    tunnel.resume();
    let answer = patiently(asking.join_next()).await.expect("it was asked").expect("no panic");
    assert_in_order(&answer, 20);
    relay.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_agent_leaves_its_work_to_another() {
    let relay = relay(&[]);
    let den = Agent::join(&relay, "den", &Style::ALL, 3).await;
    let _attic = Agent::join(&relay, "attic", &Style::ALL, 3).await;
    den.stop().await;
    relay.until_part("captioner", |state| worker(state, "den").is_none()).await;
    assert_in_order(&relay.ask(many("long", &pictures(10))).await, 10);
}
