//! Worker protocol §5 and §6: what an agent can't read, and how it closes.

use nfrx_conformance::Heard;
use nfrx_conformance::server::request;
use nfrx_testkit::relay::AgentPlan;
use serde_json::json;

use super::Rig;

#[tokio::test(start_paused = true)]
async fn messages_that_can_not_be_read_are_ignored() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    for message in [
        "{",
        "",
        "null",
        "[1]",
        r#"{"type":"welcome","worker_id":"x"}"#,
        r#"{"type":null}"#,
        r#"{"type":"http_proxy_request"}"#,
        r#"{"type":"http_proxy_request","request_id":7,"method":"POST","path":"/chat/completions"}"#,
        r#"{"type":"http_proxy_request","request_id":"r","method":"POST","path":"/chat/completions","headers":[]}"#,
        r#"{"type":"http_proxy_cancel"}"#,
        r#"{"type":"http_proxy_cancel","request_id":{}}"#,
        r#"{"type":"http_proxy_cancel","request_id":"never"}"#,
    ] {
        tunnel.socket.say_text(message).await;
    }
    tunnel.socket.say(&request("r-1", "/chat/completions", "{}")).await;
    rig.backend.asked().await.answer_json("{}");
    let head = tunnel.socket.hear_a("http_proxy_response_headers").await;
    assert_eq!((&head["request_id"], &head["status"]), (&json!("r-1"), &json!(200)));
}

#[tokio::test(start_paused = true)]
async fn a_ping_gets_its_pong() {
    let (_rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.ping(b"are you there").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_ends_an_agent_that_does_not_dial_again() {
    for (code, reason) in [(1008, "unauthorized"), (1011, "server error"), (1001, "going")] {
        let mut rig = Rig::with(AgentPlan { reconnect: false, ..AgentPlan::new("a", 1) }, &["m"]);
        let (mut tunnel, _) = rig.server.registered().await;
        tunnel.socket.close(code, reason).await;
        let error = rig.agent.ended().await.expect_err("it is an error");
        // KD-132: the reason is told.
        assert!(error.contains(reason), "{error}");
        assert!(matches!(tunnel.socket.end().await, Heard::Closed(..) | Heard::Gone));
    }
}
