//! Worker protocol §8 and §9.5: an agent that is told to stop.

use nfrx_conformance::Heard;
use nfrx_conformance::server::request;
use nfrx_testkit::relay::{AgentPlan, Kind};
use serde_json::json;

use super::Rig;

#[tokio::test(start_paused = true)]
async fn it_says_so_finishes_and_closes() {
    // KD-41: those for uploads, too.
    for (kind, path) in [
        (Kind::Llm, "/chat/completions"),
        (Kind::Asr, "/audio/transcriptions"),
        (Kind::Docling, "/v1/convert/file"),
    ] {
        let mut rig = Rig::with(AgentPlan::of(kind, "a", 2), &["m"]);
        let (mut tunnel, _) = rig.server.registered().await;
        tunnel.socket.say(&request("r-1", path, "{}")).await;
        let answering = rig.backend.asked().await.begin(200, &[]);
        assert_eq!(tunnel.socket.hear().await["type"], "http_proxy_response_headers");
        rig.agent.stop();
        let update = tunnel.socket.hear_a("status_update").await;
        assert_eq!((&update["status"], &update["max_concurrency"]), (&json!("draining"), &json!(0)));
        // What was under way to it meanwhile is told to go elsewhere.
        tunnel.socket.say(&request("r-2", path, "{}")).await;
        let head = tunnel.socket.hear().await;
        assert_eq!(
            head,
            json!({ "type": "http_proxy_response_headers", "request_id": "r-2", "status": 503,
                "headers": { "Content-Type": "application/json" } })
        );
        let end = tunnel.socket.hear().await;
        let error = json!({ "code": "worker_draining", "message": "worker is draining" });
        assert_eq!(end, json!({ "type": "http_proxy_response_end", "request_id": "r-2", "error": error }));
        answering.say("last words").await;
        answering.end();
        assert_eq!(tunnel.socket.hear().await["type"], "http_proxy_response_chunk");
        assert_eq!(
            tunnel.socket.hear().await,
            json!({ "type": "http_proxy_response_end", "request_id": "r-1" })
        );
        assert_eq!(tunnel.socket.end().await, Heard::Closed(1000, "drained".to_owned()));
        assert_eq!(rig.agent.ended().await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn without_work_it_closes_at_once() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    rig.agent.stop();
    assert_eq!(tunnel.socket.end().await, Heard::Closed(1000, "drained".to_owned()));
    assert_eq!(rig.agent.ended().await, Ok(()));
}

// KD-46. Seen to fail: with updates sent on while the agent drains.
#[tokio::test(start_paused = true)]
async fn no_probe_takes_a_drain_back() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", "/chat/completions", "{}")).await;
    let answering = rig.backend.asked().await.begin(200, &[]);
    tunnel.socket.hear_a("http_proxy_response_headers").await;
    rig.agent.stop();
    tunnel.socket.hear_a("status_update").await;
    rig.backend.list(&["m", "n"]);
    // Longer than until the next probe.
    tunnel.socket.hear_no_news(std::time::Duration::from_secs(90)).await;
    answering.end();
    loop {
        match tunnel.socket.heard().await {
            Heard::Text(text) => assert!(!text.contains("status_update"), "{text}"),
            end => break assert_eq!(end, Heard::Closed(1000, "drained".to_owned())),
        }
    }
}
