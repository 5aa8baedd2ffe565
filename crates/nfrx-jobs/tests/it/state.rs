//! The part of the state that boards read (jobs contract §7), member by member.

use nfrx_testkit::http::get;
use nfrx_testkit::relay::{API_KEY, Relay, patiently};
use serde_json::{Value, json};

use crate::{claim, make, plain, relay, settle, worker};

/// The jobs in the state, once they are as `reached` wants them.
async fn until(relay: &Relay, mut reached: impl FnMut(&Value) -> bool) -> Value {
    patiently(async {
        loop {
            let mut state = relay.ask(get("/api/state", Some(API_KEY))).await.json();
            let jobs = state["plugins"]["jobs"].take();
            if reached(&jobs) {
                return jobs;
            }
            settle().await;
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn every_member_is_there_and_moves() {
    let relay = relay(&[]);
    let empty = until(&relay, |_| true).await;
    let numbers = [
        "total_jobs",
        "queued_jobs",
        "claimed_jobs",
        "running_jobs",
        "awaiting_transfers",
        "terminal_jobs",
        "active_workers",
        "recent_workers",
        "streaming_workers",
        "completed_jobs",
        "failed_jobs",
        "canceled_jobs",
        "oldest_queued_seconds",
        "oldest_inflight_seconds",
        "avg_queue_wait_ms",
        "avg_service_ms",
        "avg_end_to_end_ms",
    ];
    for name in numbers {
        assert_eq!(empty["summary"][name], 0, "{name}");
    }
    for name in ["last_completed_at", "last_failed_at", "last_canceled_at"] {
        assert_eq!(empty["summary"].get(name), None, "{name} before the first");
    }
    assert_eq!((&empty["workers"], &empty["jobs"]), (&json!([]), &json!([])));

    let done = make(&relay, &plain()).await;
    let held = json!({ "types": ["demo.echo"], "worker_id": "w1", "worker_group": "g" });
    assert_eq!(claim(&relay, &held).await["job_id"], done);
    let end = worker(&relay, &format!("/api/jobs/{done}/status"), &json!({ "state": "completed" })).await;
    assert_eq!(end.status(), 200);
    let first = make(&relay, &plain()).await;
    let second = make(&relay, &plain()).await;
    let is_placed =
        |jobs: &Value| jobs["jobs"][0]["queue_position"] == 2 && jobs["summary"]["queued_jobs"] == 2;
    let state = until(&relay, is_placed).await;
    let summary = &state["summary"];
    assert_eq!((&summary["total_jobs"], &summary["terminal_jobs"]), (&json!(3), &json!(1)));
    assert_eq!((&summary["completed_jobs"], &summary["active_workers"]), (&json!(1), &json!(1)));
    assert!(summary["last_completed_at"].is_string());
    // Newest first, none of a client's own data (KD-99).
    let ids: Vec<_> = state["jobs"].as_array().expect("jobs").iter().map(|job| job["id"].clone()).collect();
    assert_eq!(ids, [json!(second), json!(first), json!(done)]);
    // Seen to fail: without the count of places.
    assert_eq!(state["jobs"][1]["queue_position"], 1);
    assert_eq!(state["jobs"][2].get("queue_position"), None);
    assert!(state["jobs"][0].get("metadata").is_none(), "{state}");
    let seen = &state["workers"][0];
    assert_eq!(
        (&seen["key"], &seen["worker_id"], &seen["worker_group"]),
        (&json!("w1::g"), &json!("w1"), &json!("g"))
    );
    assert_eq!((&seen["last_claim_mode"], &seen["last_job_id"]), (&json!("poll"), &json!(done)));
    assert_eq!((&seen["types"], &seen["active"]), (&json!(["demo.echo"]), &json!(true)));
    assert!(seen["last_seen_at"].is_string() && seen["last_claim_at"].is_string(), "{seen}");
    assert_eq!(seen.get("stream_count"), None, "{seen}");
}
