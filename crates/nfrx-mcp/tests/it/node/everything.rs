//! The protocol's own demonstration server, as it is published, started by the agent.

use std::path::Path;

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::rig::{CLOCK, POSTED, Plan, config, header, relay, request};
use crate::stand::from_xtask;

#[tokio::test]
async fn server_everything_is_served_over_stdio() {
    let server = Path::new(&from_xtask("NFRX_NODE_MODULES")).join("@modelcontextprotocol/server-everything");
    let command = format!("{} {}/dist/index.js stdio", from_xtask("NFRX_NODE"), server.display());
    let relay = relay(config(&[]));
    let plan = Plan::new("clock").with("mcp_stdio_command", &command);
    let agent = plan.join(&relay.entrance(), &Fake::plain()).await;
    agent.until(|status| status.connected_to_backend).await;
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } });
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    let answer = relay.ask(request("POST", CLOCK, POSTED, initialize.to_string())).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let session = header(&answer, "mcp-session-id").to_owned();
    let headers = [POSTED, &[("mcp-session-id", session.as_str())]].concat();
    let ask = |message: Value| relay.ask(request("POST", CLOCK, &headers, message.to_string()));
    let told = ask(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    assert_eq!(told.status(), 202);
    let params = json!({ "name": "echo", "arguments": { "message": "over stdio" } });
    let echo = ask(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })).await;
    assert!(echo.text().contains("Echo: over stdio"), "{}", echo.text());
    let read = ask(json!({ "jsonrpc": "2.0", "id": "p", "method": "prompts/list" })).await;
    assert!(read.text().contains(r#""prompts""#) && read.text().contains(r#""id":"p""#), "{}", read.text());
    // Its clients of the modern era are told to begin as in the legacy one.
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "0" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let discover =
        json!({ "jsonrpc": "2.0", "id": 2, "method": "server/discover", "params": { "_meta": meta } });
    let mirrors = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "server/discover")];
    let answer = relay.ask(request("POST", CLOCK, &[POSTED, &mirrors].concat(), discover.to_string())).await;
    assert_eq!((answer.status().as_u16(), &answer.json()["error"]["code"]), (400, &json!(-32000)));
}
