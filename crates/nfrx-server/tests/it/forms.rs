//! The forms of answers: ids, 404, 405, errors, panics, preflights, origins.

use nfrx_server::ServerConfig;
use serde_json::json;

use crate::client::{get, post};
use crate::world::{LOCAL, REMOTE, World, header, request, with_keys};

#[tokio::test(start_paused = true)]
async fn every_answer_has_a_request_id_and_a_harmless_one_is_kept() {
    let world = World::new(ServerConfig::local());
    let mine = request("GET", "/api/fake/v1/seen/x", &[("x-request-id", "mine/7")], "");
    let answer = world.ask(LOCAL, mine).await;
    assert_eq!((header(&answer, "x-request-id"), &answer.json()["id"]), ("mine/7", &json!("mine/7")));
    let odd = request("GET", "/nope", &[("x-request-id", "a b")], "");
    let answer = world.ask(LOCAL, odd).await;
    assert!(answer.status() == 404 && !header(&answer, "x-request-id").contains(' '));
    assert!(!header(&answer, "x-request-id").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_said_in_the_contracts_words() {
    let world = World::new(ServerConfig::local());
    let answer = world.ask(LOCAL, get("/nope", None)).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (404, "404 page not found\n"));
    assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    for (method, path, allow) in [
        ("POST", "/healthz", "GET"),
        ("HEAD", "/healthz", "GET"),
        ("OPTIONS", "/api/fake/v1/echo", "POST"),
        ("BREW", "/healthz", ""),
        ("BREW", "/nope", ""),
    ] {
        let answer = world.ask(LOCAL, request(method, path, &[], "")).await;
        let found = (answer.status().as_u16(), header(&answer, "allow"), answer.body.len());
        assert_eq!(found, (405, allow, 0), "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_500_and_the_connection_lives() {
    let world = World::new(ServerConfig::local());
    let mut client = world.client(LOCAL).await;
    // Seen to fail: without the catch the connection ends without an answer.
    let answer = client.ask(get("/api/fake/v1/panic", None)).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (500, r#"{"error":"internal"}"#));
    let answer = client.ask(get("/healthz", None)).await.expect("an answer");
    assert_eq!(answer.text(), r#"{"status":"ok"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_never_looks_whole() {
    let world = World::new(ServerConfig::local());
    let mut client = world.client(LOCAL).await;
    let result = client.ask(get("/api/fake/v1/broken", None)).await;
    assert!(result.is_err(), "the connection must be aborted");
}

#[tokio::test(start_paused = true)]
async fn errors_are_written_in_the_dialect_of_their_route() {
    let world = World::new(with_keys());
    let answer = world.ask(REMOTE, post("/api/fake/openai", None, &json!({}))).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json()["error"]["code"], "unauthorized");
    let answer = world.ask(REMOTE, get("/api/fake/v1/seen/x", None)).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (401, r#"{"error":"unauthorized"}"#));
    assert!(header(&answer, "www-authenticate").contains("Authorization: Bearer KEY"));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_at_a_side_without_a_key_is_told_what_to_do() {
    let world = World::new(ServerConfig::local());
    let answer = world.ask(REMOTE, get("/api/fake/v1/seen/x", None)).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (401, r#"{"error":"unauthorized"}"#));
    let hint = header(&answer, "www-authenticate");
    assert!(hint.contains("API_KEY") && hint.contains("INSECURE_OPEN=true"), "{hint}");
    let rebound = request("GET", "/api/fake/v1/seen/x", &[("host", "evil.example")], "");
    let answer = world.ask(LOCAL, rebound).await;
    assert!(answer.status() == 401 && header(&answer, "www-authenticate").contains("ALLOWED_HOSTS"));
}

#[tokio::test(start_paused = true)]
async fn handlers_never_see_what_only_a_trusted_proxy_may_say() {
    let mut config = with_keys();
    config.login.trusted_proxies = vec!["10.0.0.9".parse().expect("an address")];
    let world = World::new(config);
    let forged = [
        ("authorization", "Bearer alpha"),
        ("x-user-roles", "admin"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-other", "stays"),
    ];
    let answer = world.ask(REMOTE, request("GET", "/api/fake/v1/seen/x", &forged, "")).await;
    // Seen to fail: without the laundering.
    assert_eq!(answer.json()["headers"], json!(["host", "authorization", "x-other"]));
    let answer = world.ask("10.0.0.9:1", request("GET", "/api/fake/v1/seen/x", &forged, "")).await;
    assert_eq!(answer.json()["headers"].as_array().map(Vec::len), Some(8));
    let answer = world.ask(REMOTE, request("GET", "/healthz", &[("x_user_roles", "admin")], "")).await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_sites_may_call_only_when_they_are_allowed() {
    let mut config = ServerConfig::local();
    let evil = [("origin", "https://evil.example")];
    let world = World::new(config.clone());
    let answer = world.ask(LOCAL, request("POST", "/api/fake/v1/echo", &evil, "x")).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (403, r#"{"error":"forbidden"}"#));
    assert_eq!(header(&answer, "vary"), "");
    config.origin.allowed_origins = vec!["https://app.example".to_owned()];
    let world = World::new(config);
    let app = [("origin", "https://app.example")];
    let answer = world.ask(LOCAL, request("POST", "/api/fake/v1/echo", &app, "x")).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "x"));
    assert_eq!(header(&answer, "access-control-allow-origin"), "https://app.example");
    assert_eq!(header(&answer, "vary"), "Origin");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_is_always_answered_and_never_reaches_the_gate() {
    let mut config = with_keys();
    config.origin.allowed_origins = vec!["https://*.app.example".to_owned()];
    let world = World::new(config);
    let ask = async |origin: &str, method: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "x-request-id, AUTHORIZATION"),
        ];
        let answer = world.ask(REMOTE, request("OPTIONS", "/nope", &headers, "")).await;
        assert_eq!((answer.status().as_u16(), answer.body.len()), (200, 0));
        assert_eq!(answer.head.headers().get_all("vary").iter().count(), 3);
        let names = ["origin", "methods", "headers"].map(|name| format!("access-control-allow-{name}"));
        names.map(|name| header(&answer, &name).to_owned())
    };
    let allowed = ask("https://x.app.example", "POST").await;
    assert_eq!(allowed, ["https://x.app.example", "POST", "X-Request-Id, Authorization"]);
    assert_eq!(ask("https://evil.example", "POST").await, ["", "", ""]);
}
