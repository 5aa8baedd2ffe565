//! Worker protocol §1: who may open a tunnel, and what others are told.

use nfrx_conformance::Heard;
use nfrx_conformance::worker::{Worker, find, registration, upgrade};
use nfrx_server::ServerConfig;
use nfrx_testkit::relay::{Relay, WORKER_KEY, config};
use serde_json::json;

use crate::world::{chat, relay, while_asking};

const PLUGINS: [&str; 3] = ["llm", "asr", "docling"];

#[tokio::test(start_paused = true)]
async fn each_plugin_takes_workers_without_a_subprotocol_or_compression() {
    let relay = relay();
    for plugin in PLUGINS {
        // What the answer may not hold is judged by the script's own dial.
        let offers = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let head = upgrade(plugin, Some(WORKER_KEY), offers);
        let mut worker = Worker::dial(&relay, &head).await.expect("it is let in");
        worker.socket.say(&registration("a", &[], 1)).await;
        relay.until_part(plugin, |part| find(part, "a").is_some()).await;
    }
}

async fn status_of(relay: &Relay, head: &str) -> u16 {
    Worker::dial(relay, head).await.map_or_else(|refused| refused.status, |_| 101)
}

#[tokio::test(start_paused = true)]
async fn the_bearer_is_the_client_key_in_any_case_of_its_prefix_and_trimmed() {
    let relay = relay();
    for (line, status) in [
        ("Authorization: Bearer beta\r\n", 101),
        ("Authorization: bearer beta\r\n", 101),
        ("Authorization: BEARER   beta \r\n", 101),
        ("Authorization: Basic beta\r\n", 401),
        ("Authorization: Bearer gamma\r\n", 401),
        // The clients' key is not the agents'.
        ("Authorization: Bearer alpha\r\n", 401),
        ("Authorization: Bearer\r\n", 401),
        ("", 401),
    ] {
        for plugin in PLUGINS {
            assert_eq!(status_of(&relay, &upgrade(plugin, None, line)).await, status, "{plugin} {line}");
        }
    }
}

// Seen to fail: with the login of `/connect` opened.
#[tokio::test(start_paused = true)]
async fn a_refused_key_is_401_json_before_the_upgrade() {
    let refused = Worker::dial(&relay(), &upgrade("llm", Some("gamma"), "")).await.err().expect("refused");
    assert_eq!(refused.status, 401);
    assert!(refused.head.to_ascii_lowercase().contains("content-type: application/json"), "{}", refused.head);
    assert!(refused.head.ends_with(r#"{"error":"unauthorized"}"#), "{}", refused.head);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_no_harm_where_none_is_wanted() {
    let relay = Relay::start(ServerConfig::local());
    assert_eq!(status_of(&relay, &upgrade("llm", Some("any"), "")).await, 101);
}

#[tokio::test(start_paused = true)]
async fn the_key_in_the_registration_is_ignored() {
    let relay = relay();
    let mut worker = Worker::connect(&relay, "llm").await;
    let mut registration = registration("a", &["m"], 1);
    registration["client_key"] = json!("wrong");
    registration["token"] = json!("wrong, too");
    worker.socket.say(&registration).await;
    relay.until(|llm| find(llm, "a").is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_a_trusted_proxy_vouches_for_lets_in_everywhere() {
    let mut config = config(&[]);
    config.login.workers.roles = vec!["agents".to_owned()];
    config.login.trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
    let relay = Relay::start(config);
    for (roles, status) in
        [("agents", 101), ("x, agents ,y", 101), ("Agents", 401), ("agents-too", 401), ("", 401)]
    {
        // Docling's too (KD-45).
        for plugin in PLUGINS {
            let head = upgrade(plugin, None, &format!("X-User-Roles: {roles}\r\n"));
            assert_eq!(status_of(&relay, &head).await, status, "{plugin} `{roles}`");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn roles_without_a_key_protect_too() {
    let mut config = ServerConfig::local();
    config.login.workers.roles = vec!["agents".to_owned()];
    config.login.trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
    let relay = Relay::start(config);
    assert_eq!(status_of(&relay, &upgrade("llm", None, "")).await, 401);
    assert_eq!(status_of(&relay, &upgrade("llm", None, "X-User-Roles: agents\r\n")).await, 101);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_upgrade_is_refused_with_what_is_wanted() {
    let relay = relay();
    let good = upgrade("llm", Some(WORKER_KEY), "");
    for (from, to, status, says) in [
        ("Connection: Upgrade\r\n", "", 426, "upgrade: websocket"),
        ("Upgrade: websocket\r\n", "", 426, "upgrade: websocket"),
        ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n", 426, "connection: upgrade"),
        ("HTTP/1.1", "HTTP/1.0", 426, "upgrade: websocket"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 400, "sec-websocket-version: 13"),
        ("Sec-WebSocket-Version: 13\r\n", "", 400, "sec-websocket-version: 13"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400, "sec-websocket-key"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400, "sec-websocket-key"),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            400,
            "sec-websocket-key",
        ),
        ("Upgrade: websocket\r\n", "Upgrade: websocket\r\nOrigin: http://elsewhere.test\r\n", 403, "origin"),
        ("GET ", "POST ", 405, "allow: get"),
    ] {
        let refused = Worker::dial(&relay, &good.replacen(from, to, 1)).await.err().expect("refused");
        assert_eq!(refused.status, status, "`{from}` became `{to}`: {}", refused.head);
        assert!(refused.head.to_ascii_lowercase().contains(says), "`{to}` for `{from}`: {}", refused.head);
    }
    let own = good.replacen("Upgrade: w", "Origin: http://relay.test\r\nUpgrade: w", 1);
    assert_eq!(status_of(&relay, &own).await, 101);
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_takes_no_worker_and_says_so_in_text() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    // A request that runs keeps the server there.
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let request = worker.request().await;
        relay.stop();
        let refused = loop {
            match Worker::dial(&relay, &upgrade("llm", Some(WORKER_KEY), "")).await {
                Err(refused) => break refused,
                // The signal is on its way.
                Ok(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(refused.status, 503);
        assert!(refused.head.ends_with("\r\n\r\ndraining\n"), "{}", refused.head);
        worker.answer(&request.id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(worker.socket.end().await, Heard::Closed(1001, "server shutting down".to_owned()));
    relay.ended().await;
}
