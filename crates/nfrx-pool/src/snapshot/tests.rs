use std::collections::BTreeMap;
use std::time::Duration;

use nfrx_spi::{Heartbeat, Registration, StatusUpdate, WorkerIntake};
use serde_json::json;

use super::*;
use crate::testing::{Bench, FakeTunnel, newcomer};

#[test]
fn the_state_has_the_contracts_fields() {
    let bench = Bench::with(|config| config.queue_max = 7);
    let tunnel = FakeTunnel::new("v1");
    let mut den = newcomer("20260301091500", &["phi", "qwen"], 2, &tunnel);
    let config =
        [("hostname", "den"), ("embedding_batch_size", "16"), ("backend_family", "ollama"), ("x", "y")];
    den.registration = Registration {
        version: "v1".into(),
        build_sha: "abc".into(),
        agent_config: config.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..den.registration
    };
    let den = bench.pool.join(den).unwrap();
    den.membership.open();
    den.membership.heartbeat(Heartbeat { ts: 1, host_cpu_percent: 37.5, host_ram_used_percent: 0.0 });
    bench.clock.advance(Duration::from_millis(90_500));
    *tunnel.seen.lock().unwrap() = Moment::from_start(Duration::from_secs(60));
    let (_attic, _) = bench.join("attic", &["phi"], 0);
    let slot = bench.pool.take(&bench.pool.want("qwen")).unwrap();
    let _waits = bench.pool.wait(&bench.pool.want("phi").on_worker("attic"));
    let state = bench.pool.data();
    assert_eq!(bench.pool.id(), "llm");
    assert_eq!(
        state["server"],
        json!({
            "now": "2023-11-14T22:14:50.500Z", "version": "v9", "state": "ready", "uptime_s": 90,
            "jobs_inflight_total": 1, "jobs_completed_total": 0, "jobs_failed_total": 0,
            "jobs_canceled_total": 0, "scheduler_queue_len": 1, "scheduler_queue_capacity": 7,
        })
    );
    assert_eq!(
        state["workers_summary"],
        json!({ "connected": 0, "working": 1, "idle": 0, "not_ready": 1, "gone": 0 })
    );
    let model = |name, workers, waiting| {
        json!({
            "name": name, "workers": workers, "waiting": waiting, "inflight": 0, "requests_total": 0,
            "succeeded_total": 0, "output_tokens_total": 0,
        })
    };
    assert_eq!(state["models"], json!([model("phi", 2, 1), model("qwen", 1, 0)]));
    assert_eq!(
        state["workers"][0],
        json!({
            "id": "20260301091500", "name": "20260301", "version": "v1", "build_sha": "abc",
            "host_info": { "hostname": "den", "backend_family": "ollama", "worker_version": "v1" },
            "host_cpu_percent": 37.5, "input_tokens_total": 0, "output_tokens_total": 0, "status": "working",
            "connected_at": "2023-11-14T22:13:20.000Z", "last_heartbeat": "2023-11-14T22:14:20.000Z",
            "max_concurrency": 2, "embedding_batch_size": 16, "processed_total": 0, "processing_ms_total": 0,
            "avg_processing_ms": 0.0, "inflight": 1, "failures_total": 0, "queue_len": 0, "last_error": "",
            "carrier": "v1", "round_trip_ms": 1.5, "draining": false, "models": ["phi", "qwen"],
            "models_total": 2, "output_tokens_live_total": 0,
        })
    );
    assert_eq!(state["workers"][1]["id"], "attic", "oldest first");
    // Seen to fail: with the waiters of a worker taken for nobody's.
    assert_eq!(state["workers"][1]["queue_len"], 1);
    drop(slot);
}

#[test]
fn a_status_is_derived_from_what_is_known() {
    let bench = Bench::new();
    let (a, _) = bench.join("a", &["phi"], 2);
    let status = || bench.pool.snapshot()["workers"][0]["status"].as_str().unwrap().to_owned();
    let slots = [(); 2].map(|()| bench.pool.take(&bench.pool.want("phi")).unwrap());
    let [first, second] = slots;
    drop(first);
    assert_eq!(status(), "working", "one of two has ended (KD-64)");
    drop(second);
    assert_eq!(status(), "idle");
    let update = |max_concurrency, status: &str| StatusUpdate {
        max_concurrency,
        status: Some(status.to_owned()),
        ..StatusUpdate::default()
    };
    a.membership.update(update(0, "idle"));
    assert_eq!(status(), "not_ready");
    a.membership.update(update(0, "draining"));
    assert_eq!(status(), "draining");
    assert_eq!(bench.pool.snapshot()["server"]["state"], "not_ready");
    bench.pool.drain();
    assert_eq!(bench.pool.snapshot()["server"]["state"], "draining");
}

#[test]
fn of_many_models_a_worker_names_a_few_and_counts_all() {
    let bench = Bench::new();
    let names: Vec<_> = (0..40).map(|nth| format!("m{nth:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let backwards: Vec<_> = names.iter().rev().copied().collect();
    let (_a, _) = bench.join("a", &backwards, 1);
    let worker = &bench.pool.snapshot()["workers"][0];
    let shown: Vec<_> =
        worker["models"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    // Seen to fail: with those kept that came first.
    assert_eq!((shown, &worker["models_total"]), (names[..16].to_vec(), &json!(40)));
}

#[test]
fn who_waits_under_an_alias_counts_for_a_model_that_suits() {
    let bench = Bench::new();
    let (_a, _) = bench.join("a", &["llama3:8b-q4_0"], 1);
    let _slot = bench.pool.take(&bench.pool.want("llama3:8b-q4_0")).unwrap();
    let _waits = bench.pool.wait(&bench.pool.want("llama3:8b-q8_0"));
    assert_eq!(bench.pool.queue_len(), 1, "the alias suits");
    // Seen to fail: with the name that was asked for.
    assert_eq!(bench.pool.snapshot()["models"][0]["waiting"], 1);
}

#[test]
fn an_update_merges_the_configuration() {
    let bench = Bench::new();
    let (a, _) = bench.join("a", &["phi"], 2);
    let set = |pairs: &[(&str, &str)]| {
        let config: BTreeMap<_, _> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        a.membership.update(StatusUpdate { agent_config: Some(config), ..StatusUpdate::default() });
    };
    set(&[("hostname", "den"), ("os_name", "debian")]);
    set(&[("hostname", ""), ("os_name", "arch")]);
    let state = bench.pool.snapshot();
    assert_eq!(state["workers"][0]["host_info"], json!({ "hostname": "den", "os_name": "arch" }));
}
