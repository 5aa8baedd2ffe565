//! A file of servers: each under its own public id, with its own list of tools, as long as
//! the file says so.

use bytes::Bytes;
use http::Request;
use nfrx_testkit::relay::Relay;

use crate::fake::{Fake, Reply, Seen};
use crate::rig::{Folder, McpAgent, POSTED, Plan, config, relay, request, until_state};

const TOOLS: &str = r#"{"jsonrpc":"2.0","id":"nfrx-agent","result":{"tools":[{"name":"look","annotations":{"readOnlyHint":true}},{"name":"erase"}]}}"#;

/// A server with two tools, one of which changes nothing.
fn two_tools() -> Fake {
    Fake::new(|seen: &Seen| {
        let text = String::from_utf8_lossy(&seen.body);
        match () {
            () if text.contains("\"tools/list\"") => Reply::json(TOOLS),
            () if text.contains("\"initialize\"") => Reply::json(
                r#"{"jsonrpc":"2.0","id":"nfrx-agent","result":{"protocolVersion":"2025-11-25"}}"#,
            ),
            () => Reply::json(format!("[\"{}\"]", seen.target)),
        }
    })
}

async fn start(folder: &Folder, fake: &Fake, servers: &str) -> (Relay, McpAgent) {
    let path = folder.write("servers.json", servers);
    let mut ours = config(&[]);
    // The digest of `hunter2`.
    let digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    let keys = folder.write("keys.yaml", &format!("- name: ann\n  sha256: {digest}\n"));
    ours.login.api.keys_file = Some(keys);
    let relay = relay(ours);
    let plan = Plan::new("den").with("mcp_servers_file", path.to_str().expect("text"));
    let agent = plan.join(&relay.entrance(), fake).await;
    (relay, agent)
}

fn to(id: &str, body: &str) -> Request<Bytes> {
    request("POST", &format!("/api/mcp/id/{id}"), POSTED, body.to_owned())
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

// Seen to fail: without the header of the file.
#[tokio::test(start_paused = true)]
async fn each_server_of_a_file_has_its_own_address_and_the_file_is_followed() {
    let (folder, fake) = (Folder::new("servers"), two_tools());
    let first =
        r#"{"mcpServers":{"a":{"url":"http://h/a","headers":{"X-Token":"t"}},"b":{"url":"http://h/b"}}}"#;
    let (relay, _agent) = start(&folder, &fake, first).await;
    assert_eq!(relay.ask(to("den-a", "{}")).await.text(), r#"["/a"]"#);
    assert_eq!(relay.ask(to("den-b", "{}")).await.text(), r#"["/b"]"#);
    let seen = fake.seen();
    assert_eq!(
        (&seen[0].headers["x-token"], seen[1].headers.get("x-token")),
        (&"t".parse().expect("valid"), None)
    );
    folder.write(
        "servers.json",
        r#"{"mcpServers":{"b":{"url":"http://h/b"},"new":{"url":"http://h/new","id":"own"}}}"#,
    );
    let state = until_state(&relay, |mcp| mcp["clients"][1]["id"] == "own").await;
    assert_eq!(state["clients"].as_array().map(Vec::len), Some(2));
    assert_eq!(relay.ask(to("own", "{}")).await.text(), r#"["/new"]"#);
    assert_eq!(relay.ask(to("den-a", "{}")).await.status(), 503, "it was here");
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_is_not_listed_is_neither_shown_nor_called() {
    let (folder, fake) = (Folder::new("tools"), two_tools());
    let servers =
        r#"{"mcpServers":{"a":{"url":"http://h/a","tools":["look"],"toolsByKey":{"ann":["erase"]}}}}"#;
    let (relay, _agent) = start(&folder, &fake, servers).await;
    let list = r#"{"jsonrpc":"2.0","id":"nfrx-agent","method":"tools/list"}"#;
    let listed = relay.ask(to("den-a", list)).await.text();
    assert!(listed.contains("look") && !listed.contains("erase"), "{listed}");
    assert_eq!(relay.ask(to("den-a", &call("look"))).await.text(), r#"["/a"]"#);
    let refused = relay.ask(to("den-a", &call("erase"))).await;
    assert_eq!((refused.status().as_u16(), &refused.json()["id"]), (200, &7.into()));
    assert_eq!(refused.json()["error"]["code"], -32602);
    let batch = format!("[{},{}]", call("look"), call("erase"));
    assert_eq!(relay.ask(to("den-a", &batch)).await.status(), 403);
    // A key with a list of its own. Seen to fail: without the name of the key in the tunnel.
    let by_ann = |body: &str| {
        let headers = [POSTED, &[("authorization", "Bearer hunter2"), ("x-nfrx-caller", "ben")]].concat();
        request("POST", "/api/mcp/id/den-a", &headers, body.to_owned())
    };
    assert_eq!(relay.ask(by_ann(&call("erase"))).await.text(), r#"["/a"]"#);
    assert_eq!(relay.ask(by_ann(&call("look"))).await.json()["error"]["code"], -32602);
    assert!(fake.seen().iter().all(|seen| !seen.headers.contains_key("x-nfrx-caller")));
}

#[tokio::test(start_paused = true)]
async fn a_read_only_server_is_asked_for_its_tools_by_the_agent_itself() {
    let (folder, fake) = (Folder::new("read-only"), two_tools());
    let servers = r#"{"mcpServers":{"a":{"url":"http://h/a","readOnly":true}}}"#;
    let (relay, _agent) = start(&folder, &fake, servers).await;
    // Nobody has listed anything. Seen to fail: without the agent's own question.
    assert_eq!(relay.ask(to("den-a", &call("look"))).await.text(), r#"["/a"]"#);
    let asked = fake.seen().len();
    for _ in 0..3 {
        assert_eq!(relay.ask(to("den-a", &call("erase"))).await.json()["error"]["code"], -32602);
    }
    assert_eq!(fake.seen().len(), asked, "refused calls make no work");
}
