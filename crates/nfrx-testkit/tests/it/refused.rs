//! What is wrong is refused at the door, in the bodies that existing clients match on.

use bytes::Bytes;
use http::{Request, StatusCode};
use nfrx_server::ServerConfig;
use nfrx_testkit::http::{Answer, post};
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::{API_KEY, AgentPlan, REMOTE, Relay, config};
use serde_json::json;

use crate::ask::{CHAT, chat};

#[track_caller]
fn check(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (status, body));
}

fn json_body(body: impl Into<Bytes>) -> Request<Bytes> {
    let request = Request::post(CHAT).header("host", "relay.test");
    let request = request.header("authorization", format!("Bearer {API_KEY}"));
    request.header("content-type", "application/json").body(body.into()).expect("a request")
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_401_and_no_key_too() {
    let relay = Relay::start(config(&[]));
    let _agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
    for key in [Some("wrong"), None] {
        let answer = relay.ask(post(CHAT, key, &json!({ "model": "demo" }))).await;
        check(&answer, 401, r#"{"error":"unauthorized"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_model_is_404() {
    let relay = Relay::start(config(&[]));
    let _agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
    check(&relay.ask(chat(&json!({ "model": "nobody" }))).await, 404, "no worker\n");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_json_is_400() {
    let relay = Relay::start(config(&[]));
    let agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
    for body in ["{", "", "model=demo", "\u{1f600}"] {
        let answer = relay.ask(json_body(body)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.text().starts_with("bad request"), "{body}: {}", answer.text());
    }
    assert_eq!(agent.sim().started(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_413_before_it_is_read() {
    let relay = Relay::start(config(&[]));
    let agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
    let answer = relay.ask(json_body(vec![b' '; 65 * 1024 * 1024])).await;
    check(&answer, 413, r#"{"error":"too_large"}"#);
    assert_eq!(agent.sim().started(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_side_without_a_key_tells_callers_from_elsewhere_what_to_do() {
    let relay = Relay::start(ServerConfig::local());
    let mut plan = AgentPlan::new("a", 1);
    plan.key = None;
    let _agent = plan.join(&relay.entrance()).await;
    let (mut remote, _) = relay.client_over(PipeOptions::default(), REMOTE).await;
    let answer = remote.ask(chat(&json!({}))).await.expect("an answer");
    check(&answer, 401, r#"{"error":"unauthorized"}"#);
    let hint = answer.head.headers()["www-authenticate"].to_str().expect("text");
    assert!(hint.contains("API_KEY") && hint.contains("INSECURE_OPEN"), "{hint}");
    assert_eq!(relay.ask(chat(&json!({}))).await.status(), StatusCode::OK, "this machine is served");
}

#[tokio::test(start_paused = true)]
async fn an_agent_with_a_wrong_key_is_refused_before_the_upgrade_and_says_what_to_fix() {
    let relay = Relay::start(config(&[]));
    for key in [Some("wrong".to_owned()), None] {
        let mut plan = AgentPlan::new("a", 1);
        (plan.key, plan.reconnect) = (key, false);
        let said = plan.start(&relay.entrance()).ended().await.expect_err("refused");
        assert!(said.contains("401") && said.contains("CLIENT_KEY"), "{said}");
    }
}
