//! All servers of a file as one more: whose tools it has, and which server a call reaches.

use std::time::Duration;

use http::Request;
use nfrx_testkit::http::Answer;
use nfrx_testkit::relay::{Relay, patiently};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fake::{Fake, Reply, Seen};
use crate::rig::{Folder, McpAgent, POSTED, Plan, config, header, relay, request, until_state};

const ALL: &str = "/api/mcp/id/den";

/// At `/old` a server of the legacy era, at `/new` one of the modern era, at `/dead` none. Each
/// has a tool that changes nothing, and the old one another; both say who was called how.
fn servers() -> Fake {
    let mut sessions = 0;
    Fake::new(move |seen: &Seen| {
        let sent: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let is_modern = seen.headers.contains_key("mcp-method");
        let answer =
            |result: Value| json!({ "jsonrpc": "2.0", "id": sent["id"], "result": result }).to_string();
        let called = || answer(json!({ "content": [{ "type": "text", "text": seen.target }] }));
        match (seen.target.as_str(), sent["method"].as_str().unwrap_or_default()) {
            ("/old", "initialize") => {
                sessions += 1;
                let headers =
                    [("content-type", "application/json"), ("mcp-session-id", &*format!("s-{sessions}"))];
                Reply::new(200, &headers, answer(json!({ "protocolVersion": "2025-11-25" })))
            }
            ("/old", "tools/call") if sent["params"]["name"] == "wait" => Reply::Never,
            ("/old", "tools/call") if sent["params"]["arguments"]["forget"] == sessions => {
                Reply::new(404, &[], "")
            }
            ("/old", "tools/call") => {
                let token = &sent["params"]["_meta"]["progressToken"];
                let params = json!({ "progressToken": token, "progress": 1 });
                let told = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
                let events = format!("data: {told}\n\ndata: {}\n\n", called());
                Reply::new(200, &[("content-type", "text/event-stream")], events)
            }
            ("/old", "tools/list") => Reply::json(format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"tools":[{{"odd":12345678901234567890123,"name":"look","z":1.0,"a":2,"annotations":{{"readOnlyHint":true}}}},{{"name":"erase"}}]}}}}"#,
                sent["id"]
            )),
            ("/new", "server/discover") if is_modern => {
                Reply::json(answer(json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"] })))
            }
            ("/new", "tools/list") if is_modern => Reply::json(answer(
                json!({ "tools": [{ "name": "look", "annotations": { "readOnlyHint": true } }] }),
            )),
            ("/new", "tools/call") if is_modern => Reply::json(called()),
            ("/new", _) => Reply::new(404, &[("content-type", "application/json")], {
                json!({ "jsonrpc": "2.0", "id": sent["id"], "error": { "code": -32601, "message": "no" } })
                    .to_string()
            }),
            ("/old", _) => Reply::new(202, &[], ""),
            _ => Reply::new(500, &[], "dead"),
        }
    })
}

/// An agent with this file, whose servers are one as well.
async fn start(name: &str, fake: &Fake, servers: &Value) -> (Folder, Relay, McpAgent) {
    let folder = Folder::new(name);
    let path = folder.write("servers.json", &json!({ "mcpServers": servers }).to_string());
    let mut ours = config(&[]);
    // The digest of `hunter2`.
    let digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    ours.login.api.keys_file = Some(folder.write("keys.yaml", &format!("- name: ann\n  sha256: {digest}\n")));
    let relay = relay(ours);
    let plan = Plan::new("den").with("mcp_aggregate", "true");
    let plan = plan.with("mcp_servers_file", path.to_str().expect("text"));
    let agent = plan.join(&relay.entrance(), fake).await;
    (folder, relay, agent)
}

fn both() -> Value {
    json!({ "old": { "url": "http://h/old" }, "new": { "url": "http://h/new" } })
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;

/// Opens a session and gives what asks in it.
async fn session(relay: &Relay, key: &str) -> impl Fn(Value) -> Request<bytes::Bytes> + use<> {
    let bearer = format!("Bearer {key}");
    let opened =
        relay.ask(request("POST", ALL, &[POSTED, &[("authorization", &bearer)]].concat(), INITIALIZE)).await;
    assert_eq!(opened.json()["result"]["protocolVersion"], "2025-06-18", "{}", opened.text());
    let id = header(&opened, "mcp-session-id").to_owned();
    move |message: Value| {
        let headers = [POSTED, &[("authorization", &*bearer), ("mcp-session-id", &*id)]].concat();
        request("POST", ALL, &headers, message.to_string())
    }
}

const KEY: &str = nfrx_testkit::relay::API_KEY;

fn list() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })
}

fn call(tool: &str) -> Value {
    let params = json!({ "name": tool, "arguments": {}, "_meta": { "progressToken": "t" } });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params })
}

/// The messages of a stream of events.
fn messages(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| panic!("{text}"))).collect()
}

/// The names in a list of tools.
fn names(answer: &Answer) -> Vec<String> {
    let message = messages(answer).pop().expect("an answer");
    let tools = message["result"]["tools"].as_array().cloned().unwrap_or_else(|| panic!("{message}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_legacy_client_has_the_tools_of_servers_of_both_eras() {
    let fake = servers();
    let (_folder, relay, _agent) = start("joined-legacy", &fake, &both()).await;
    let ask = session(&relay, KEY).await;
    let listed = relay.ask(ask(list())).await;
    assert_eq!(names(&listed), ["new__look", "old__look", "old__erase"]);
    // All but the name is as the server wrote it. Seen to fail: with tools read into a tree.
    let kept = r#"{"odd":12345678901234567890123,"name":"old__look","z":1.0,"a":2,"#;
    assert!(listed.text().contains(kept), "{}", listed.text());
    let answered = messages(&relay.ask(ask(call("old__look"))).await);
    // Seen to fail: with what a server says before its answer left out.
    assert_eq!(answered[0]["params"]["progressToken"], "t");
    assert_eq!(
        (&answered[1]["id"], &answered[1]["result"]["content"][0]["text"]),
        (&json!(7), &json!("/old"))
    );
    let seen = fake.seen().pop().expect("it arrived");
    let sent: Value = serde_json::from_slice(&seen.body).expect("JSON");
    assert_eq!((&sent["id"], &sent["params"]["name"]), (&json!(7), &json!("look")));
    assert_eq!(seen.headers["mcp-session-id"], "s-1", "the server's own session");
    let answered = messages(&relay.ask(ask(call("new__look"))).await);
    assert_eq!(answered[0]["result"]["content"][0]["text"], "/new");
    let seen = fake.seen().pop().expect("it arrived");
    assert_eq!(seen.headers["mcp-method"], "tools/call");
    assert_eq!(seen.headers["mcp-name"], "look");
    assert!(String::from_utf8_lossy(&seen.body).contains("io.modelcontextprotocol/clientInfo"));
    for (method, code) in [("prompts/list", -32601), ("tools/call", -32602)] {
        let odd =
            json!({ "jsonrpc": "2.0", "id": "x", "method": method, "params": { "name": "none__look" } });
        let answered = messages(&relay.ask(ask(odd)).await);
        assert_eq!((&answered[0]["id"], &answered[0]["error"]["code"]), (&json!("x"), &json!(code)));
    }
    // Each server is still there for itself.
    assert_eq!(relay.ask(request("POST", "/api/mcp/id/den-old", POSTED, INITIALIZE)).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_modern_client_has_them_too() {
    let fake = servers();
    let (_folder, relay, _agent) = start("joined-modern", &fake, &both()).await;
    let ask = |method: &str, name: &str, mut params: Value| {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "0" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let mut headers =
            [POSTED, &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]].concat();
        if !name.is_empty() {
            headers.push(("mcp-name", name));
        }
        relay.ask(request("POST", ALL, &headers, message.to_string()))
    };
    let discovered = ask("server/discover", "", json!({})).await;
    assert!(discovered.text().contains(r#""tools":{}"#), "{}", discovered.text());
    let listed = messages(&ask("tools/list", "", json!({})).await).remove(0);
    assert_eq!(listed["result"]["resultType"], "complete", "{listed}");
    assert_eq!(listed["result"]["tools"][2]["name"], "old__erase", "{listed}");
    for (tool, server) in [("old__look", "/old"), ("new__look", "/new")] {
        let answer = ask("tools/call", tool, json!({ "name": tool, "arguments": {} })).await.text();
        assert!(answer.contains(&format!(r#""text":"{server}""#)), "{answer}");
        // Only a modern server takes what only modern clients say. Seen to fail: with it left in.
        let sent = fake.seen().pop().expect("it arrived").body;
        let says_version = String::from_utf8_lossy(&sent).contains("io.modelcontextprotocol");
        assert_eq!(says_version, server == "/new");
        // Seen to fail: with the answers of legacy servers as they are.
        assert!(answer.contains(r#""resultType":"complete""#), "{answer}");
    }
    let mismatch = ask("tools/call", "look", json!({ "name": "new__look", "arguments": {} })).await;
    assert_eq!((mismatch.status().as_u16(), &mismatch.json()["error"]["code"]), (400, &json!(-32020)));
    assert_eq!(ask("prompts/list", "", json!({})).await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_each_server_hold() {
    let fake = servers();
    let file = json!({
        "a": { "url": "http://h/old", "tools": ["look"], "toolsByKey": { "ann": ["erase"] } },
        "b": { "url": "http://h/old", "readOnly": true },
        "c": { "url": "http://h/old", "authToken": "own" },
        "d": { "url": "http://h/dead" },
    });
    let (_folder, relay, _agent) = start("joined-rules", &fake, &file).await;
    // Seen to fail: with servers that have a token among them, without the rules of the whole,
    // and without those of its parts.
    for (key, shown, open) in [(KEY, "a__look", "a__erase"), ("hunter2", "a__erase", "a__look")] {
        let ask = session(&relay, key).await;
        let listed = relay.ask(ask(list())).await;
        assert_eq!(names(&listed), [shown, "b__look"]);
        assert!(listed.text().contains(r#""nfrx/unavailable":["d"]"#), "{}", listed.text());
        for tool in [shown, "b__look"] {
            let answered = messages(&relay.ask(ask(call(tool))).await);
            assert_eq!(answered[1]["result"]["content"][0]["text"], "/old", "{tool}");
        }
        for tool in [open, "b__erase", "c__look"] {
            let refused = relay.ask(ask(call(tool))).await.text();
            assert!(refused.contains("-32602"), "{tool}: {refused}");
        }
    }
    let called =
        fake.seen().into_iter().filter(|seen| String::from_utf8_lossy(&seen.body).contains("tools/call"));
    assert_eq!(called.count(), 4, "nothing else reached a server");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_a_server_forgot_is_opened_anew() {
    let fake = servers();
    let (_folder, relay, _agent) = start("joined-forgot", &fake, &both()).await;
    let ask = session(&relay, KEY).await;
    let mut forgotten = call("old__look");
    forgotten["params"]["arguments"]["forget"] = json!(1);
    // Seen to fail: without the second try.
    let answered = messages(&relay.ask(ask(forgotten)).await);
    assert_eq!(answered[1]["result"]["content"][0]["text"], "/old");
    assert_eq!(fake.seen().pop().expect("it arrived").headers["mcp-session-id"], "s-2");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_is_so_at_its_server_and_a_sessions_end_ends_theirs() {
    let fake = servers();
    let (_folder, relay, _agent) = start("joined-cancel", &fake, &both()).await;
    let ask = session(&relay, KEY).await;
    let mut client = relay.client().await;
    let (waiting, mut task) = (ask(call("old__wait")), JoinSet::new());
    task.spawn(async move { client.ask(waiting).await.expect("an answer").text() });
    until(&fake, |seen| String::from_utf8_lossy(&seen.body).contains(r#""name":"wait""#)).await;
    let cancelled =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    let start = Instant::now();
    assert_eq!(relay.ask(ask(cancelled)).await.status(), 202);
    patiently(fake.until_cancelled(1)).await;
    // Seen to fail: with the call left to itself.
    assert!(start.elapsed() < Duration::from_secs(1), "cancelled after {:?}", start.elapsed());
    // Seen to fail: without the notification, and without the end of conversations.
    until(&fake, |seen| String::from_utf8_lossy(&seen.body).contains("notifications/cancelled")).await;
    let mut end = ask(json!({}));
    *end.method_mut() = http::Method::DELETE;
    assert_eq!(relay.ask(end).await.status(), 204);
    until(&fake, |seen| seen.method == "DELETE" && seen.headers["mcp-session-id"] == "s-1").await;
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_while_the_file_changes() {
    let fake = servers();
    let mut file = both();
    let (folder, relay, _agent) = start("joined-changes", &fake, &file).await;
    let ask = session(&relay, KEY).await;
    relay.ask(ask(call("old__look"))).await;
    file["more"] = json!({ "url": "http://h/old" });
    file["new"]["disabled"] = json!(true);
    folder.write("servers.json", &json!({ "mcpServers": &file }).to_string());
    until_state(&relay, |mcp| mcp["clients"][1]["id"] == "den-more").await;
    // Seen to fail: with every conversation begun anew, and with the servers of the beginning.
    assert_eq!(
        names(&relay.ask(ask(list())).await),
        ["more__look", "more__erase", "old__look", "old__erase"]
    );
    relay.ask(ask(call("old__look"))).await;
    assert_eq!(fake.seen().pop().expect("it arrived").headers["mcp-session-id"], "s-1");
    file["old"]["disabled"] = json!(true);
    folder.write("servers.json", &json!({ "mcpServers": &file }).to_string());
    until_state(&relay, |mcp| mcp["clients"].as_array().is_some_and(|servers| servers.len() == 2)).await;
    assert_eq!(names(&relay.ask(ask(list())).await), ["more__look", "more__erase"]);
    // Seen to fail: with conversations with servers that are gone left open.
    until(&fake, |seen| seen.method == "DELETE" && seen.headers["mcp-session-id"] == "s-1").await;
}

// Seen to fail: with a whole that is always ready, and with one that never is.
#[tokio::test(start_paused = true)]
async fn the_whole_is_ready_when_one_of_its_servers_is() {
    let fake = servers();
    fake.set_reachable(false);
    let (_folder, relay, _agent) = start("joined-ready", &fake, &both()).await;
    for (reachable, status) in [(false, "not_ready"), (true, "idle")] {
        fake.set_reachable(reachable);
        until_state(&relay, |mcp| {
            let servers = mcp["clients"].as_array().into_iter().flatten();
            servers.clone().count() == 3
                && servers.filter(|server| server["status"] == status).any(|server| server["id"] == "den")
        })
        .await;
    }
}

// Seen to fail: with all of them named.
#[test]
fn clients_are_told_of_the_whole_in_place_of_its_parts() {
    let folder = Folder::new("joined-told");
    let file = json!({ "a": { "url": "http://h/" }, "own": { "url": "http://h/", "authToken": "own" } });
    let path = folder.write("servers.json", &json!({ "mcpServers": file }).to_string());
    let plan = Plan::new("den").with("mcp_servers_file", path.to_str().expect("text"));
    let told = |plan: &Plan| {
        let (config, mcp) = plan.settings();
        let told = nfrx_mcp::agent::public_addresses(&config, &mcp).expect("a good file");
        told.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(told(&plan), ["den-a", "den-own"]);
    assert_eq!(told(&plan.with("mcp_aggregate", "true")), ["den-own", "den"]);
}

/// Waits for a request.
async fn until(fake: &Fake, is_it: impl Fn(&Seen) -> bool) {
    patiently(async {
        let mut count = 1;
        while !fake.until_seen(count).await.iter().any(&is_it) {
            count += 1;
        }
    })
    .await;
}
