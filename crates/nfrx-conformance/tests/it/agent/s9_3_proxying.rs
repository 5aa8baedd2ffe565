//! Worker protocol §9.3: a request at the agent.

use std::time::Duration;

use nfrx_conformance::members;
use nfrx_conformance::server::{Tunnel, request};
use nfrx_testkit::relay::AgentPlan;
use serde_json::{Value, json};

use super::Rig;

const CHAT: &str = "/chat/completions";

fn data(message: &Value) -> String {
    use base64::Engine as _;
    let data = message["data"].as_str().expect("a chunk");
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
    String::from_utf8(bytes).expect("text")
}

/// The type, status and text of the messages up to the end.
async fn answer(tunnel: &mut Tunnel) -> (u16, Value, String, Value) {
    let head = tunnel.socket.hear_a("http_proxy_response_headers").await;
    let mut text = String::new();
    loop {
        let message = tunnel.socket.hear().await;
        match message["type"].as_str() {
            Some("http_proxy_response_chunk") => text += &data(&message),
            Some("http_proxy_response_end") => {
                let status = head["status"].as_u64().and_then(|status| u16::try_from(status).ok());
                return (status.expect("a status"), head["headers"].clone(), text, message["error"].clone());
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_goes_to_the_base_url_and_the_path_with_its_method_body_and_headers() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    let mut asked = request("r-1", CHAT, "{ \"raw\" : 1.50 }");
    asked["headers"]["aUthorization"] = json!("Bearer of-a-client");
    asked["headers"]["X-Anything"] = json!("1");
    asked["stream"] = json!(true);
    asked["unknown"] = json!([1]);
    tunnel.socket.say(&asked).await;
    let at_backend = rig.backend.asked().await;
    assert_eq!((at_backend.method.as_str(), at_backend.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(at_backend.body, "{ \"raw\" : 1.50 }");
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-request-id", "r-1"),
        ("cache-control", "no-store"),
        ("x-anything", "1"),
        ("host", "127.0.0.1:11434"),
        ("content-length", "16"),
        ("authorization", ""),
        // KD-23: the connection is kept.
        ("connection", ""),
    ] {
        assert_eq!(at_backend.header(name), value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_and_headers_may_be_missing_null_or_empty() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    for (nth, more) in
        [json!({}), json!({ "headers": null }), json!({ "headers": {}, "body": "" })].into_iter().enumerate()
    {
        let id = format!("r-{nth}");
        let mut message =
            json!({ "type": "http_proxy_request", "request_id": id, "method": "POST", "path": CHAT });
        message.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        tunnel.socket.say(&message).await;
        let asked = rig.backend.asked().await;
        assert!(asked.body.is_empty());
        asked.answer_json("{}");
        assert_eq!(answer(&mut tunnel).await.0, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn the_configured_key_goes_to_the_backend() {
    let mut plan = AgentPlan::new("a", 1);
    plan.options.insert("completion_api_key".to_owned(), "secret-123".to_owned());
    let mut rig = Rig::with(plan, &["m"]);
    let (mut tunnel, _) = rig.server.registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    assert_eq!(rig.backend.asked().await.header("authorization"), "Bearer secret-123");
}

// KD-49.
#[tokio::test(start_paused = true)]
async fn a_slash_at_the_bases_end_is_no_second_one_in_paths() {
    let mut plan = AgentPlan::new("a", 1);
    plan.options.insert("completion_base_url".to_owned(), "http://127.0.0.1:9/v1/".to_owned());
    let mut rig = Rig::with(plan, &["m"]);
    let (mut tunnel, _) = rig.server.registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    assert_eq!(rig.backend.asked().await.path, "/v1/chat/completions");
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_one_head_then_a_chunk_a_read_then_one_end() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    let answering =
        rig.backend.asked().await.begin(201, &[("content-type", "text/event-stream"), ("x-backend", "b")]);
    let head = tunnel.socket.text().await;
    assert_eq!(
        serde_json::from_str::<Value>(&head).expect("JSON"),
        json!({ "type": "http_proxy_response_headers", "request_id": "r-1", "status": 201,
            "headers": { "Content-Type": "text/event-stream", "X-Backend": "b" } })
    );
    assert_eq!(members(&head), ["type", "request_id", "status", "headers"]);
    for piece in ["data: 1\n\n", "data: 2\n\n"] {
        answering.say(piece).await;
        let chunk = tunnel.socket.text().await;
        assert_eq!(members(&chunk), ["type", "request_id", "data"]);
        assert_eq!(data(&serde_json::from_str(&chunk).expect("JSON")), piece);
    }
    answering.end();
    assert_eq!(tunnel.socket.hear().await, json!({ "type": "http_proxy_response_end", "request_id": "r-1" }));
}

#[tokio::test(start_paused = true)]
async fn chunks_hold_32_kib_at_most() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    let body = "x".repeat(300_000);
    rig.backend.asked().await.answer(200, &[], body.clone());
    tunnel.socket.hear_a("http_proxy_response_headers").await;
    let mut text = String::new();
    loop {
        let message = tunnel.socket.hear().await;
        if message["type"] == "http_proxy_response_end" {
            break;
        }
        let piece = data(&message);
        assert!(piece.len() <= 32 * 1024, "{}", piece.len());
        text += &piece;
    }
    assert!(text == body);
}

// KD-25, KD-68.
#[tokio::test(start_paused = true)]
async fn lists_are_joined_cookies_that_can_not_be_are_dropped_and_hops_stay() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    let headers = [
        ("x-list", "a"),
        ("x-list", "b"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
    ];
    rig.backend.asked().await.answer(200, &headers, "{}");
    let (_, headers, _, _) = answer(&mut tunnel).await;
    assert_eq!(headers, json!({ "X-List": "a, b", "Content-Length": "2" }));
}

#[tokio::test(start_paused = true)]
async fn requests_run_in_parallel_and_their_messages_take_turns() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    for id in ["r-1", "r-2"] {
        tunnel.socket.say(&request(id, CHAT, id)).await;
    }
    let (one, two) = (rig.backend.asked().await, rig.backend.asked().await);
    let (first, second) = (one.body.clone(), two.body.clone());
    let (one, two) = (one.begin(200, &[]), two.begin(200, &[]));
    for _ in 0..2 {
        tunnel.socket.hear_a("http_proxy_response_headers").await;
    }
    for (answering, id) in [(&two, &second), (&one, &first), (&two, &second)] {
        answering.say("piece").await;
        let chunk = tunnel.socket.hear_a("http_proxy_response_chunk").await;
        assert_eq!(chunk["request_id"].as_str().map(str::as_bytes), Some(&id[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_ends_with_an_error() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    let answering = rig.backend.asked().await.begin(200, &[]);
    answering.say("half").await;
    let answered = async {
        let head = tunnel.socket.hear().await;
        let chunk = tunnel.socket.hear().await;
        (head, chunk)
    };
    let (_, chunk) = answered.await;
    assert_eq!(data(&chunk), "half");
    answering.break_off().await;
    let end = tunnel.socket.hear().await;
    assert_eq!(
        (&end["type"], &end["error"]["code"]),
        (&json!("http_proxy_response_end"), &json!("upstream_error"))
    );
    // KD-24: a text for people, which names no address.
    let message = end["error"]["message"].as_str().expect("a text");
    assert!(!message.is_empty() && !message.contains("127.0.0.1"), "{message}");
}

// KD-24.
#[tokio::test(start_paused = true)]
async fn a_backend_that_is_away_is_a_502_that_names_no_address() {
    let (rig, mut tunnel) = Rig::registered().await;
    rig.backend.leave();
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    let (status, headers, text, error) = answer(&mut tunnel).await;
    assert_eq!((status, &headers), (502, &json!({ "Content-Type": "application/json" })));
    assert_eq!(text, r#"{"error":"upstream_error"}"#);
    assert!(error["code"].is_string() && !error.to_string().contains("127.0.0.1"), "{error}");
    let status = rig.agent.until(|status| !status.last_error.is_empty()).await;
    assert!(!status.last_error.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_the_backend_and_nothing_more_is_said() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    let cancel = |id: &str| json!({ "type": "http_proxy_cancel", "request_id": id });
    // Before the head, after it, and right behind the request itself (KD-65).
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    let mut asked = rig.backend.asked().await;
    tunnel.socket.say(&cancel("r-1")).await;
    asked.unwanted().await;
    tunnel.socket.say(&request("r-2", CHAT, "{}")).await;
    let answering = rig.backend.asked().await.begin(200, &[]);
    assert_eq!(tunnel.socket.hear().await["request_id"], "r-2");
    tunnel.socket.say(&cancel("r-2")).await;
    answering.unwanted().await;
    tunnel.socket.say(&request("r-3", CHAT, "{}")).await;
    tunnel.socket.say(&cancel("r-3")).await;
    // Anything of the three would come before this one's.
    tunnel.socket.say(&request("r-4", CHAT, "four")).await;
    loop {
        let asked = rig.backend.asked().await;
        if asked.body == "four" {
            break asked.answer_json("{}");
        }
    }
    let message = tunnel.socket.hear_news().await;
    assert_eq!(message["request_id"], "r-4", "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_id_in_use_is_not_taken_twice() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "one")).await;
    let asked = rig.backend.asked().await;
    tunnel.socket.say(&request("r-1", CHAT, "two")).await;
    asked.answer_json("{}");
    assert_eq!(answer(&mut tunnel).await.2, "{}");
    // Once it is over the id is free.
    tunnel.socket.say(&request("r-1", CHAT, "three")).await;
    assert_eq!(rig.backend.asked().await.body, "three");
}

// The agent alone decides where its backend is.
#[tokio::test(start_paused = true)]
async fn an_address_in_a_path_leads_nowhere_else() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", "http://elsewhere.test/chat/completions", "{}")).await;
    let asked = rig.backend.asked().await;
    assert_eq!((asked.path.as_str(), asked.header("host")), ("/v1/chat/completions", "127.0.0.1:11434"));
}

// The agent's own list of paths: it trusts the server as little as the server trusts it.
#[tokio::test(start_paused = true)]
async fn what_is_not_on_its_list_never_reaches_the_backend() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    for (nth, (method, path)) in [
        ("POST", "/admin"),
        ("DELETE", "/chat/completions"),
        ("POST", "/../admin"),
        ("POST", "/chat/completions/../../admin"),
        ("POST", "/chat/%63ompletions"),
        ("POST", ""),
        ("POST", "chat/completions"),
        ("BAD METHOD", "/chat/completions"),
        ("POST", "/chat/completions\r\nX: y"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut message = request(&format!("r-{nth}"), path, "{}");
        message["method"] = json!(method);
        tunnel.socket.say(&message).await;
        let (status, _, _, error) = answer(&mut tunnel).await;
        assert!(status >= 500 && error["code"].is_string(), "{method} {path}: {status} {error}");
    }
    assert!(rig.backend.is_unasked());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_base64_never_reaches_the_backend() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    let mut message = request("r-1", CHAT, "");
    message["body"] = json!("!");
    tunnel.socket.say(&message).await;
    assert!(answer(&mut tunnel).await.0 >= 500);
    assert!(rig.backend.is_unasked());
}

// KD-66.
#[tokio::test(start_paused = true)]
async fn more_than_its_slots_wait_a_moment_and_are_told_that_it_is_busy() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    for id in ["r-1", "r-2", "r-3"] {
        tunnel.socket.say(&request(id, CHAT, "{}")).await;
    }
    let _kept = (rig.backend.asked().await, rig.backend.asked().await);
    let (status, _, text, error) = answer(&mut tunnel).await;
    assert_eq!((status, text.as_str(), &error["code"]), (503, "", &json!("worker_busy")));
}

// KD-9.
#[tokio::test(start_paused = true)]
async fn a_silent_backend_is_a_timeout() {
    let limit = Some(Duration::from_secs(20));
    let mut rig = Rig::with(AgentPlan { request_timeout: limit, ..AgentPlan::new("a", 2) }, &["m"]);
    let (mut tunnel, _) = rig.server.registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    let _kept = rig.backend.asked().await;
    let (status, _, text, error) = answer(&mut tunnel).await;
    assert_eq!((status, text.as_str(), &error["code"]), (504, r#"{"error":"timeout"}"#, &json!("timeout")));
}

// KD-38: heartbeats go before data, and data of a slow link is not gathered without bound.
#[tokio::test(start_paused = true)]
async fn a_large_answer_keeps_no_heartbeat_waiting() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    rig.backend.asked().await.answer(200, &[], vec![b'x'; 8 * 1024 * 1024]);
    // The server reads nothing for a while.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut before = 0;
    while tunnel.socket.hear().await["type"] != "heartbeat" {
        before += 1;
    }
    // Those that were in the pipe and in the socket's own buffers already.
    assert!(before < 16, "{before} messages came first");
}

// Its own map of headers would panic at 32,768.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_large_never_reaches_the_backend() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    let mut message = request("r-1", CHAT, "{}");
    for nth in 0..40_000 {
        message["headers"][format!("X-{nth}")] = json!("1");
    }
    tunnel.socket.say(&message).await;
    assert!(answer(&mut tunnel).await.0 >= 500);
    assert!(rig.backend.is_unasked());
}

#[tokio::test(start_paused = true)]
async fn values_beyond_ascii_pass() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    let mut message = request("r-1", CHAT, "{}");
    message["headers"]["X-Name"] = json!("J\u{fc}rgen");
    tunnel.socket.say(&message).await;
    let asked = rig.backend.asked().await;
    assert_eq!(asked.headers["x-name"].as_bytes(), "J\u{fc}rgen".as_bytes());
    asked.answer(200, &[("x-name", "J\u{fc}rgen")], "{}");
    assert_eq!(answer(&mut tunnel).await.1["X-Name"], "J\u{fc}rgen");
}

// Seen to fail: without the bound on what waits to be said.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_nothing_is_lost_after_a_while() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    rig.backend.asked().await.answer(200, &[], vec![b'x'; 8 * 1024 * 1024]);
    // Nothing is read here; the agent comes back on a new connection.
    let start = tokio::time::Instant::now();
    let (_again, _) = rig.server.registered().await;
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    drop(tunnel);
}

// A body must fit one message; old servers send some of any size.
#[tokio::test(start_paused = true)]
async fn a_large_body_comes_whole() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    let body = "x".repeat(24 * 1024 * 1024);
    tunnel.socket.say(&request("r-1", CHAT, &body)).await;
    let asked = rig.backend.asked().await;
    assert!(asked.body == body);
    asked.answer_json("{}");
    assert_eq!(answer(&mut tunnel).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_coded_answer_passes_as_it_came_and_none_is_asked_for() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
    let asked = rig.backend.asked().await;
    assert_eq!(asked.header("accept-encoding"), "");
    asked.answer(200, &[("content-encoding", "gzip")], "not really");
    let (_, headers, text, _) = answer(&mut tunnel).await;
    assert_eq!((&headers["Content-Encoding"], text.as_str()), (&json!("gzip"), "not really"));
}

// KD-75.
#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed_and_names_no_place() {
    let (mut rig, mut tunnel) = Rig::registered().await;
    for status in [301, 302, 307, 308] {
        tunnel.socket.say(&request("r-1", CHAT, "{}")).await;
        let asked = rig.backend.asked().await;
        asked.answer(status, &[("location", "http://10.0.0.5/elsewhere")], "");
        let (got, headers, _, error) = answer(&mut tunnel).await;
        assert_eq!((got, &headers["Location"], &error), (status, &Value::Null, &Value::Null));
    }
    assert!(rig.backend.is_unasked());
}
