//! Worker protocol §9.2: probes, and what is told of them.

use std::time::Duration;

use nfrx_testkit::relay::{AgentPlan, Kind};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Rig;

fn quick() -> AgentPlan {
    let mut plan = AgentPlan::new("a", 2);
    plan.options.insert("model_poll_interval".to_owned(), "1s".to_owned());
    plan
}

#[tokio::test(start_paused = true)]
async fn models_are_asked_for_each_minute_and_uploads_backends_each_twenty_seconds() {
    for (kind, seconds) in [(Kind::Llm, 60), (Kind::Asr, 20), (Kind::Docling, 20)] {
        let rig = Rig::with(AgentPlan::of(kind, "a", 1), &["m"]);
        let (_tunnel, _) = rig.server.registered().await;
        let before = rig.backend.probes();
        sleep(Duration::from_secs(seconds * 3 + seconds / 2)).await;
        assert_eq!(rig.backend.probes() - before, 3, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_is_sent_only_when_something_changed_and_order_is_something() {
    let rig = Rig::with(quick(), &["m", "n"]);
    let (mut tunnel, _) = rig.server.registered().await;
    // Ten probes without news: nothing but signs of life.
    sleep(Duration::from_secs(10)).await;
    for models in [&["n", "m"][..], &["n"], &[]] {
        rig.backend.list(models);
        let said = tunnel.socket.hear_news().await;
        assert_eq!(said["type"], "status_update");
        assert_eq!(
            (&said["models"], &said["status"], &said["max_concurrency"]),
            (&json!(models), &json!("idle"), &json!(2))
        );
        // Servers read the batch size anew from each update, so it has to be there.
        assert!(said["agent_config"].is_object(), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_batch_size_is_in_every_update() {
    let rig = Rig::with(AgentPlan { embedding_batch_size: 16, ..quick() }, &["m"]);
    let (mut tunnel, _) = rig.server.registered().await;
    rig.backend.list(&["n"]);
    assert_eq!(tunnel.socket.hear_a("status_update").await["agent_config"]["embedding_batch_size"], "16");
    rig.backend.leave();
    assert_eq!(tunnel.socket.hear_a("status_update").await["agent_config"]["embedding_batch_size"], "16");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_gone_is_not_ready_and_its_models_are_withdrawn_until_it_is_back() {
    // KD-47: also without reconnecting.
    let rig = Rig::with(AgentPlan { reconnect: false, ..quick() }, &["m"]);
    let (mut tunnel, _) = rig.server.registered().await;
    rig.backend.leave();
    let said = tunnel.socket.hear_a("status_update").await;
    assert_eq!((&said["status"], &said["max_concurrency"]), (&json!("not_ready"), &json!(0)));
    // KD-48.
    assert_eq!(said["models"], json!([]));
    let status = rig.agent.until(|status| !status.connected_to_backend).await;
    assert!(!status.last_error.is_empty());
    tunnel.socket.hear_no_news(Duration::from_secs(100)).await;
    rig.backend.come_back();
    let back = Instant::now();
    let said = tunnel.socket.hear_a("status_update").await;
    assert_eq!(
        (&said["status"], &said["max_concurrency"], &said["models"]),
        (&json!("idle"), &json!(2), &json!(["m"]))
    );
    // The longest wait of the schedule, and a fifth.
    assert!(back.elapsed() <= Duration::from_secs(36), "{:?}", back.elapsed());
    assert!(rig.agent.until(|status| status.connected_to_backend).await.last_error.is_empty());
}

// KD-18: of what changed meanwhile only the newest is told, with the registration.
#[tokio::test(start_paused = true)]
async fn what_changed_while_not_connected_is_in_the_next_registration() {
    let rig = Rig::with(quick(), &["m"]);
    let (tunnel, _) = rig.server.registered().await;
    rig.server.close(true);
    tunnel.pipe.cut();
    for nth in 0..40 {
        rig.backend.list(&[&format!("m{nth}")]);
        sleep(Duration::from_secs(2)).await;
    }
    rig.server.close(false);
    let (mut tunnel, said) = rig.server.registered().await;
    assert_eq!(said["models"], json!(["m39"]));
    assert_eq!(tunnel.socket.hear().await["type"], "heartbeat", "nothing older follows");
}
