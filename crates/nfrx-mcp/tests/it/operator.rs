//! What an operator is told of one server: its tools, what it last said, and why not.

use nfrx_spi::Secret;
use nfrx_testkit::relay::{API_KEY, Relay};
use serde_json::json;

use crate::fake::{Fake, Reply, Seen};
use crate::rig::{POSTED, Plan, config, relay, request};

const ADMIN_KEY: &str = "omega";

const ABOUT: &str = "/api/mcp/operator/clock";

fn with_admin() -> Relay {
    let mut config = config(&[]);
    config.login.admin_key = Some(Secret::new(ADMIN_KEY));
    relay(config)
}

fn by(key: &str, path: &str) -> http::Request<bytes::Bytes> {
    request("GET", path, &[("authorization", &format!("Bearer {key}"))], "")
}

/// A server of two tools.
fn two_tools() -> Fake {
    Fake::new(|seen: &Seen| {
        let text = String::from_utf8_lossy(&seen.body);
        let result = match () {
            () if text.contains("\"tools/list\"") => {
                json!({ "tools": [{ "name": "look", "annotations": { "readOnlyHint": true } }, { "name": "<b>" }] })
            }
            () => json!({ "protocolVersion": "2025-11-25", "serverInfo": { "name": "den", "version": "2" } }),
        };
        Reply::json(json!({ "jsonrpc": "2.0", "id": "nfrx-agent", "result": result }).to_string())
    })
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_of_tools_and_nobody_else_is() {
    let relay = with_admin();
    let _agent = Plan::new("clock").join(&relay.entrance(), &two_tools()).await;
    let told = relay.ask(by(ADMIN_KEY, ABOUT)).await;
    assert_eq!(told.status(), 200, "{}", told.text());
    let expected = json!({
        "id": "clock",
        "agents": [{ "agent": "clock", "about": {
            "software": "den 2",
            "revision": "2025-11-25",
            "tools": [{ "name": "look", "read_only": true }, { "name": "<b>", "read_only": false }],
        }}],
    });
    assert_eq!(told.json(), expected);
    for path in [ABOUT, "/api/mcp/operator/nobody"] {
        assert_eq!(relay.ask(by(API_KEY, path)).await.status(), 403, "{path}");
    }
    assert_eq!(relay.ask(by(ADMIN_KEY, "/api/mcp/operator/nobody")).await.status(), 404);
    // The way by which the relay asks is no way for clients.
    let below = relay.ask(request("GET", "/api/mcp/id/clock/about/clock", POSTED, "")).await;
    assert_eq!(below.status(), 404, "{}", below.text());
}

#[tokio::test(start_paused = true)]
async fn why_nothing_is_known_is_told_too() {
    let relay = with_admin();
    let fake = Fake::new(|_| Reply::new(418, &[], "no"));
    let _agent = Plan::new("clock").join(&relay.entrance(), &fake).await;
    let told = relay.ask(by(ADMIN_KEY, ABOUT)).await.json();
    let problem = told["agents"][0]["about"]["problem"].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("418"), "{told}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_server_said_last_is_told_also_after_it_has_ended() {
    let script = r#"echo "no licence found" >&2; exit 3"#;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("licence.sh");
    std::fs::write(&file, script).expect("the folder is cargo's");
    let relay = with_admin();
    let plan = Plan::new("clock").with("mcp_stdio_command", &format!("sh {}", file.display()));
    let _agent = plan.join(&relay.entrance(), &Fake::plain()).await;
    let told = relay.ask(by(ADMIN_KEY, ABOUT)).await.json();
    assert_eq!(told["agents"][0]["about"]["stderr"][0], "no licence found", "{told}");
    assert!(told["agents"][0]["about"]["problem"].is_string(), "{told}");
}
