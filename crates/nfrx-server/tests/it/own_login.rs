//! Routes whose plugin judges who may come in: what the gate tells it, and keeps from it.

use nfrx_server::ServerConfig;
use serde_json::json;

use crate::client::Answer;
use crate::world::{LOCAL, REMOTE, World, header, request, with_keys};

async fn ask(world: &World, peer: &str, headers: &[(&str, &str)]) -> Answer {
    world.ask(peer, request("POST", "/api/fake/own", headers, "")).await
}

#[tokio::test(start_paused = true)]
async fn the_plugin_is_told_how_far_the_login_let_somebody_in() {
    let mut config = with_keys();
    config.login.api.roles = vec!["reader".to_owned()];
    config.login.trusted_proxies = vec!["10.0.0.9".parse().expect("an address")];
    let world = World::new(config);
    let key = ask(&world, REMOTE, &[("authorization", "Bearer alpha")]).await;
    assert_eq!(key.json()["login"], "key");
    let role = ask(&world, "10.0.0.9:1", &[("x-user-roles", "reader")]).await;
    assert_eq!(role.json()["login"], "role");
    let own = ask(&world, REMOTE, &[("authorization", "Bearer gamma")]).await;
    assert_eq!(own.json()["login"], "refused");
    let open = ask(&World::new(ServerConfig::local()), LOCAL, &[]).await;
    assert_eq!(open.json()["login"], "open");
}

#[tokio::test(start_paused = true)]
async fn no_key_of_the_server_reaches_the_plugin() {
    let world = World::new(with_keys());
    let answer = ask(&world, REMOTE, &[("authorization", "Bearer alpha")]).await;
    assert_eq!(answer.json()["headers"], json!(["host"]));
    // Not even one of agents, or one shown twice.
    for other in ["beta", "alpha", "root"] {
        let bearer = format!("bearer  {other}");
        let headers = [("x-nfrx-key", "alpha"), ("authorization", bearer.as_str())];
        // Seen to fail: with the look at the key that was judged only.
        assert_eq!(ask(&world, REMOTE, &headers).await.json()["headers"], json!(["host"]), "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_header_made_for_the_key_leaves_the_other_one_to_the_plugin() {
    let world = World::new(with_keys());
    let headers = [("x-nfrx-key", " alpha "), ("authorization", "Bearer of-the-backend")];
    let answer = ask(&world, REMOTE, &headers).await;
    assert_eq!(answer.json(), json!({ "login": "key", "headers": ["host", "authorization"] }));
    // It alone counts: a right bearer beside a wrong key is no login.
    let headers = [("x-nfrx-key", "wrong"), ("authorization", "Bearer alpha")];
    assert_eq!(ask(&world, REMOTE, &headers).await.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn guessing_at_the_plugin_is_slowed_down_too() {
    let world = World::new(with_keys());
    let mut statuses = Vec::new();
    for guess in 0..12 {
        let bearer = format!("Bearer guess-{guess}");
        statuses.push(ask(&world, REMOTE, &[("authorization", &bearer)]).await.status().as_u16());
    }
    // Seen to fail: when a plugin's refusal is not counted.
    assert_eq!(statuses, [vec![401; 10], vec![429; 2]].concat());
    assert_eq!(ask(&world, REMOTE, &[("authorization", "Bearer gamma")]).await.status(), 200);
    assert_eq!(ask(&world, REMOTE, &[]).await.status(), 401, "who shows nothing guesses nothing");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_may_ask_for_any_method_that_is_served_there() {
    let mut config = with_keys();
    config.origin.allowed_origins = vec!["https://app.example".to_owned()];
    let world = World::new(config);
    for (path, allowed) in [("/api/fake/own", "DELETE"), ("/api/fake/v1/echo", "")] {
        let headers = [("origin", "https://app.example"), ("access-control-request-method", "DELETE")];
        let answer = world.ask(REMOTE, request("OPTIONS", path, &headers, "")).await;
        assert_eq!(header(&answer, "access-control-allow-methods"), allowed, "{path}");
    }
}
