//! The same relay on a real port. Few tests: a paused clock and real sockets do not mix.

use http::StatusCode;
use nfrx_testkit::http::HttpClient;
use nfrx_testkit::relay::{AgentPlan, Relay, config};
use serde_json::json;

use crate::ask::{chat, open, rest};

#[tokio::test]
async fn a_bound_server_answers_on_its_port_and_ends_when_told() {
    let relay = Relay::bind(config(&[])).await;
    let _agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
    let addr = relay.addr().expect("it is bound");
    let mut client = HttpClient::connect(addr).await.expect("it listens");
    let (text, clean) = rest(&mut open(&mut client, chat(&json!({ "stream": true }))).await).await;
    assert!(clean && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(client.ask(chat(&json!({}))).await.expect("an answer").status(), StatusCode::OK);
    relay.stop();
    relay.ended().await;
    assert!(HttpClient::connect(addr).await.is_err(), "the port is free again");
}
