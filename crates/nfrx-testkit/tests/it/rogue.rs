//! Agents with a key that keep to no rule: what they break is their own requests.

use std::time::Duration;

use http::StatusCode;
use nfrx_testkit::fault::{Dice, RawAgent, Rogue};
use nfrx_testkit::pipe::{PipeEnd, PipeOptions};
use nfrx_testkit::relay::{AgentPlan, LOCAL, Relay, config, patiently};
use serde_json::json;
use tokio::task::JoinSet;

use crate::ask::{chat, comes_whole};

async fn v1_agent(relay: &Relay) -> RawAgent<PipeEnd> {
    let mut agent = RawAgent::new(relay.dial(PipeOptions::default(), LOCAL).0);
    agent.upgrade("llm", None).await.expect("an upgrade");
    agent.register("rogue", 4).await.expect("it is heard");
    relay.until(|llm| llm["workers"][0]["id"] == "rogue").await;
    agent
}

/// Whether an answer made of these messages looks whole to its client, who in any case gets
/// an end. `ID` stands for the request's id.
async fn looks_whole(messages: &[&str]) -> bool {
    let relay = Relay::start(config(&[]));
    let mut agent = v1_agent(&relay).await;
    let mut client = relay.client().await;
    let mut asking = JoinSet::new();
    asking.spawn(async move {
        let answer = client.ask(chat(&json!({}))).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    });
    let id = patiently(agent.next_request()).await.expect("a request");
    for message in messages {
        agent.say(&message.replace("ID", &id)).await.expect("it is heard");
    }
    // Nothing but the messages may end it: no time passes that a deadline could be over.
    let ended = tokio::time::timeout(Duration::from_secs(1), asking.join_next()).await;
    ended.expect("the client waits for ever").expect("one").expect("no panic")
}

const HEAD: &str = r#"{"type":"http_proxy_response_headers","request_id":"ID","status":200}"#;
const CHUNK: &str = r#"{"type":"http_proxy_response_chunk","request_id":"ID","data":"eA=="}"#;
const END: &str = r#"{"type":"http_proxy_response_end","request_id":"ID"}"#;

// Seen to fail: the second head left the client waiting, and the end alone looked whole.
#[tokio::test(start_paused = true)]
async fn an_answer_in_a_wrong_order_ends_and_never_looks_whole() {
    let status = |status: &str| HEAD.replace("200", status);
    assert!(looks_whole(&[HEAD, CHUNK, END]).await);
    assert!(!looks_whole(&[HEAD, HEAD, CHUNK, END]).await);
    assert!(!looks_whole(&[END]).await);
    assert!(!looks_whole(&[CHUNK, HEAD, END]).await);
    assert!(!looks_whole(&[&status("99")]).await);
    assert!(!looks_whole(&[HEAD, &CHUNK.replace("eA==", "~")]).await);
    assert!(!looks_whole(&[&status("502"), &status("502")]).await);
}

#[tokio::test(start_paused = true)]
async fn whatever_rogues_do_an_honest_agent_goes_on_and_nothing_of_them_stays() {
    let relay = Relay::start(config(&[]));
    let honest = AgentPlan::new("honest", 4).join(&relay.entrance()).await;
    for (nth, rogue) in Rogue::ALL.into_iter().enumerate().filter(|(_, rogue)| *rogue != Rogue::Thief) {
        let mut dice = Dice::new(nth as u64, "rogue");
        let io = relay.dial(PipeOptions::default(), LOCAL).0;
        let (mut client, mut acting) = (relay.client().await, JoinSet::new());
        acting.spawn(async move { rogue.act(io, &mut dice, "honest", Duration::from_secs(3)).await });
        for _ in 0..20 {
            let whole = patiently(comes_whole(&mut client, chat(&json!({})))).await;
            if !whole {
                client = relay.client().await;
            }
        }
        patiently(acting.join_next()).await;
        relay.until(|llm| llm["workers"].as_array().is_some_and(|workers| workers.len() == 1)).await;
    }
    assert_eq!(honest.tunnels().len(), 1, "the honest agent's tunnel stood all the time");
    assert_eq!(relay.ask(chat(&json!({}))).await.status(), StatusCode::OK);
}
