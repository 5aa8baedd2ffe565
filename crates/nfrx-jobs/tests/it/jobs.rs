//! Jobs from their making to their end.

use http_body_util::BodyExt as _;
use nfrx_testkit::http::{get, post};
use nfrx_testkit::relay::{API_KEY, WORKER_KEY};
use serde_json::json;

use crate::{answer, claim, client, events_until, make, plain, raw, relay, settle, show, start, worker};

#[tokio::test(start_paused = true)]
async fn the_worked_trace_of_the_contract_runs() {
    let relay = relay(&[]);
    let id = make(&relay, &plain()).await;
    let mut watcher = relay.client().await;
    let events = watcher.send(get(&format!("/api/jobs/{id}/events"), Some(API_KEY))).await.expect("a head");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut events = events.into_body();
    let first = events_until(&mut events, "\n\n").await;
    assert!(first.starts_with("event: status\n") && first.contains(r#""status":"queued""#), "{first}");

    let claimed = claim(&relay, &json!({ "types": ["demo.echo"], "worker_id": "w1" })).await;
    assert_eq!((&claimed["job_id"], &claimed["metadata"]["name"]), (&json!(id), &json!("a.txt")));
    let path = |what: &str| format!("/api/jobs/{id}/{what}");
    let payload =
        worker(&relay, &path("payload"), &json!({ "properties": { "protocol": "demo-v1" } })).await.json();
    let told = events_until(&mut events, r#""status":"awaiting_payload""#).await;
    // Seen to fail: with the status told before its channel.
    assert!(
        told.find("event: payload").expect("a channel")
            < told.find(r#""status":"awaiting_payload""#).expect("a status")
    );

    let url = payload["reader_url"].as_str().expect("a url");
    let reading = start(&relay, get(url, Some(WORKER_KEY))).await;
    let written = relay.ask(raw("POST", url, API_KEY, "hello world")).await;
    assert_eq!((written.status().as_u16(), written.text().as_str()), (200, "{\"status\":\"ok\"}\n"));
    assert_eq!(answer(reading).await.expect("an answer").text(), "hello world");

    let progress = json!({ "state": "running", "progress": { "percent": 50 } });
    assert_eq!(worker(&relay, &path("status"), &progress).await.text(), "{\"status\":\"running\"}\n");
    let result = worker(&relay, &path("result"), &json!({})).await.json();
    assert_eq!(result["key"], "result");
    assert_eq!(worker(&relay, &path("status"), &json!({ "state": "completed" })).await.status(), 200);
    // It ends by itself, cleanly, once the delay is over.
    let rest = events.collect().await.expect("a clean end").to_bytes();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("event: result") && rest.contains(r#""status":"completed""#), "{rest}");
    let view = show(&relay, &id).await;
    assert_eq!((&view["status"], &view["progress"]["percent"]), (&json!("completed"), &json!(50)));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claim_gets_the_next_job_that_suits_and_204_at_the_limit() {
    let relay = relay(&[]);
    let wait = |kind: &str| json!({ "types": [kind], "max_wait_seconds": 30 });
    let other = start(&relay, post("/api/jobs/claim", Some(WORKER_KEY), &wait("other"))).await;
    let own = start(&relay, post("/api/jobs/claim", Some(WORKER_KEY), &wait("demo.echo"))).await;
    settle().await;
    let id = make(&relay, &plain()).await;
    let own = answer(own).await.expect("an answer");
    assert_eq!(own.json()["job_id"], json!(id));
    let other = answer(other).await.expect("an answer");
    assert_eq!((other.status().as_u16(), other.body.len()), (204, 0));
}

#[tokio::test(start_paused = true)]
async fn a_claimer_that_leaves_takes_nothing() {
    let relay = relay(&[]);
    let leaver =
        start(&relay, post("/api/jobs/claim", Some(WORKER_KEY), &json!({ "max_wait_seconds": 30 }))).await;
    settle().await;
    drop(leaver);
    settle().await;
    let id = make(&relay, &plain()).await;
    assert_eq!(claim(&relay, &json!({})).await["job_id"], json!(id));
}

#[tokio::test(start_paused = true)]
async fn each_bad_request_is_told_what_is_wrong() {
    let relay = relay(&[]);
    let id = make(&relay, &plain()).await;
    let status = format!("/api/jobs/{id}/status");
    let gone = "/api/jobs/00000000-0000-4000-8000-000000000000/status";
    let long = json!({ "type": "a", "metadata": { "x": "y".repeat(2 << 20) } });
    let too_large = client(&relay, "/api/jobs", &long).await;
    assert_eq!((too_large.status().as_u16(), &too_large.json()["error"]), (413, &json!("too_large")));
    for (path, key, body, code, error) in [
        ("/api/jobs", API_KEY, "", 400, "invalid_request"),
        ("/api/jobs", API_KEY, "{", 400, "invalid_request"),
        ("/api/jobs", API_KEY, "[]", 400, "invalid_request"),
        ("/api/jobs", API_KEY, r#"{"type":"a","priority":0.5}"#, 400, "invalid_request"),
        ("/api/jobs", API_KEY, "null", 400, "missing_type"),
        ("/api/jobs", API_KEY, r#"{"type":" "}"#, 400, "missing_type"),
        ("/api/jobs", WORKER_KEY, r#"{"type":"a"}"#, 401, "unauthorized"),
        ("/api/jobs/claim", API_KEY, "{}", 401, "unauthorized"),
        ("/api/jobs/claim", WORKER_KEY, r#"{"types":"a"}"#, 400, "invalid_request"),
        (gone, WORKER_KEY, "garbage", 404, "not_found"),
        // The job is not claimed: garbage or not.
        (&status, WORKER_KEY, "garbage", 409, "invalid_state"),
    ] {
        let answer = relay.ask(raw("POST", path, key, body)).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.json()["error"]),
            (code, &json!(error)),
            "{path} {body}"
        );
    }
    claim(&relay, &json!({})).await;
    for (body, code, error) in [
        (r#"{"state":"Weird <x>"}"#, 400, "invalid_request"),
        (r#"{"state":" "}"#, 400, "missing_state"),
        (r#"{"state":"running","claim_token":"forged"}"#, 409, "claim_lost"),
    ] {
        let answer = relay.ask(raw("POST", &status, WORKER_KEY, body)).await;
        assert_eq!((answer.status().as_u16(), &answer.json()["error"]), (code, &json!(error)), "{body}");
    }
    let path = format!("/api/jobs/{id}/payload");
    let bad_key = relay.ask(raw("POST", &path, WORKER_KEY, "{\"key\":\"a\\u0000b\"}")).await;
    assert_eq!(bad_key.status(), 400);
    let odd_key =
        relay.ask(raw("POST", &path, WORKER_KEY, r#"{"Key":"../../etc/passwd","Properties":null}"#)).await;
    assert_eq!(odd_key.json()["key"], "../../etc/passwd");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_silent_loses_its_job_and_cannot_come_back() {
    let relay = relay(&[("client_ttl", "0")]);
    let id = make(&relay, &plain()).await;
    let first = claim(&relay, &json!({ "lease_seconds": 10, "worker_id": "one" })).await;
    let second = claim_later(&relay).await;
    assert_eq!((&second["job_id"], &second["attempt"]), (&json!(id), &json!(2)));
    let done = |token: &serde_json::Value| json!({ "state": "completed", "claim_token": token });
    let path = format!("/api/jobs/{id}/status");
    // Seen to fail: without the comparison of tokens.
    assert_eq!(worker(&relay, &path, &done(&first["claim_token"])).await.status(), 409);
    let renewed =
        worker(&relay, &format!("/api/jobs/{id}/lease"), &json!({ "claim_token": second["claim_token"] }))
            .await;
    assert_eq!((renewed.status().as_u16(), &renewed.json()["canceled"]), (200, &json!(false)));
    assert_eq!(worker(&relay, &path, &done(&second["claim_token"])).await.status(), 200);
    assert_eq!(show(&relay, &id).await["claimed_worker_id"], "two");
}

/// A second worker waits until the job is free again.
async fn claim_later(relay: &nfrx_testkit::relay::Relay) -> serde_json::Value {
    claim(relay, &json!({ "max_wait_seconds": 60, "worker_id": "two" })).await
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_looks_after_is_canceled_and_a_kept_one_is_not() {
    let relay = relay(&[("client_ttl", "30s")]);
    let (left, kept) =
        (make(&relay, &plain()).await, make(&relay, &json!({ "type": "a", "keep": true })).await);
    let watched = make(&relay, &plain()).await;
    let mut watcher = relay.client().await;
    let _events =
        watcher.send(get(&format!("/api/jobs/{watched}/events"), Some(API_KEY))).await.expect("a head");
    tokio::time::sleep(std::time::Duration::from_secs(40)).await;
    let view = show(&relay, &left).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("canceled"), &json!("client_inactive")));
    assert_eq!(show(&relay, &kept).await["status"], "queued");
    // Seen to fail: with the clock left running, and no look at who watches when it has run out.
    assert_eq!(show(&relay, &watched).await["status"], "queued");
}

#[tokio::test(start_paused = true)]
async fn the_same_request_makes_one_job() {
    let relay = relay(&[]);
    let ask = async |body: &serde_json::Value| {
        let mut request = post("/api/jobs", Some(API_KEY), body);
        request.headers_mut().insert("idempotency-key", "once".parse().expect("a header"));
        relay.ask(request).await
    };
    let (first, again) = (ask(&plain()).await.json(), ask(&plain()).await.json());
    assert_eq!(first, again);
    let other = ask(&json!({ "type": "other" })).await;
    assert_eq!((other.status().as_u16(), &other.json()["error"]), (409, &json!("idempotency_conflict")));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_waits_for_the_next_change() {
    let relay = relay(&[]);
    let id = make(&relay, &plain()).await;
    let polling = start(&relay, get(&format!("/api/jobs/{id}?wait_seconds=20"), Some(API_KEY))).await;
    settle().await;
    claim(&relay, &json!({})).await;
    assert_eq!(answer(polling).await.expect("an answer").json()["status"], "claimed");
}

#[tokio::test(start_paused = true)]
async fn a_stream_gets_no_more_than_it_has_room_for() {
    let relay = relay(&[]);
    let ids = [make(&relay, &plain()).await, make(&relay, &plain()).await];
    let mut stream = relay.client().await;
    let answer = stream.send(get("/api/jobs/stream?max_inflight=1", Some(WORKER_KEY))).await.expect("a head");
    let mut jobs = answer.into_body();
    let first = events_until(&mut jobs, "event: job").await;
    assert!(first.contains(&ids[0]) && !first.contains(&ids[1]), "{first}");
    settle().await;
    // Seen to fail: without the bound, the second is claimed at once.
    assert_eq!(show(&relay, &ids[1]).await["status"], "queued");
    worker(&relay, &format!("/api/jobs/{}/status", ids[0]), &json!({ "state": "completed" })).await;
    assert!(events_until(&mut jobs, "event: job").await.contains(&ids[1]));
    drop((jobs, stream));
    settle().await;
    // Its worker has not said a word of it: it goes back.
    assert_eq!(show(&relay, &ids[1]).await["status"], "queued");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_watchers_see_the_end_though_one_never_reads() {
    let relay = relay(&[]);
    let id = make(&relay, &plain()).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut watcher = relay.client().await;
        let answer =
            watcher.send(get(&format!("/api/jobs/{id}/events"), Some(API_KEY))).await.expect("a head");
        clients.push((watcher, answer.into_body()));
    }
    let stuck = clients.pop();
    client(&relay, &format!("/api/jobs/{id}/cancel"), &json!({})).await;
    for (_watcher, mut events) in clients {
        events_until(&mut events, r#""status":"canceled""#).await;
    }
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn the_state_tells_numbers_and_no_secrets() {
    let relay = relay(&[]);
    let id = make(&relay, &plain()).await;
    claim(&relay, &json!({ "worker_id": "w1" })).await;
    worker(&relay, &format!("/api/jobs/{id}/payload"), &json!({})).await;
    let state = relay.until_part("jobs", |jobs| jobs["summary"]["awaiting_transfers"] == 1).await;
    assert_eq!(state["workers"][0]["key"], "w1::");
    let job = &state["jobs"][0];
    // Seen to fail: with the client's own view.
    assert!(
        job["id"] == json!(id) && job.get("payloads").is_none() && job.get("metadata").is_none(),
        "{job}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_list_is_filtered() {
    let relay = relay(&[]);
    let tagged = make(&relay, &json!({ "type": "b", "tags": ["night"] })).await;
    make(&relay, &plain()).await;
    let list = relay.ask(get("/api/jobs?tag=night&status=queued", Some(API_KEY))).await.json();
    assert_eq!((list["jobs"].as_array().map(Vec::len), &list["jobs"][0]["id"]), (Some(1), &json!(tagged)));
    assert_eq!(relay.ask(get("/api/jobs?status=odd", Some(API_KEY))).await.status(), 400);
}
