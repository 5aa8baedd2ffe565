//! The modern era: one process for all clients, none of which sees the others.

use super::*;

const MODERN: &str = "2026-07-28";

/// A modern request and the headers that mirror it.
struct Request(Value, Vec<(String, String)>);

impl Request {
    fn new(id: impl Into<Value>, method: &str, mut params: Value) -> Self {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
        params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "t", "version": "0" });
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let mut headers = vec![
            ("mcp-protocol-version".to_owned(), MODERN.to_owned()),
            ("mcp-method".to_owned(), method.to_owned()),
        ];
        if let Some(name) = params["name"].as_str() {
            headers.push(("mcp-name".to_owned(), name.to_owned()));
        }
        Self(json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params }), headers)
    }

    fn call(id: impl Into<Value>, name: &str) -> Self {
        Self::new(id, "tools/call", json!({ "name": name }))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.1.retain(|(other, _)| other != name);
        self.1.push((name.to_owned(), value.to_owned()));
        self
    }

    async fn ask(&self, rig: &Rig) -> Answer {
        let headers: Vec<_> = self.1.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        rig.ask("POST", &headers, self.0.to_string()).await
    }
}

/// A server whose shared process has told what it is.
async fn modern() -> (Rig, FakeChild) {
    let rig = Rig::new();
    let serve = async {
        let mut child = rig.child().await;
        let asked = child.asked("server/discover").await;
        assert_eq!(asked["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], MODERN);
        let capabilities = json!({ "tools": { "listChanged": true } });
        child.answers(&asked, json!({ "supportedVersions": [MODERN], "capabilities": capabilities })).await;
        lists_tools(&mut child, "Region").await;
        child
    };
    let (probed, mut child) = tokio::join!(rig.upstream.probe(), serve);
    assert_eq!(probed, Ok(()));
    child.asked("subscriptions/listen").await;
    (rig, child)
}

async fn lists_tools(child: &mut FakeChild, header: &str) {
    let asked = child.asked("tools/list").await;
    assert_eq!(asked["params"]["cursor"], Value::Null);
    let tool = |name: &str| {
        json!({ "name": name, "inputSchema": { "properties": {
            "region": { "type": "string", "x-mcp-header": header } } } })
    };
    child.answers(&asked, json!({ "tools": [tool("other")], "nextCursor": "c" })).await;
    let asked = child.asked("tools/list").await;
    assert_eq!(asked["params"]["cursor"], "c");
    child.answers(&asked, json!({ "tools": [tool("run")] })).await;
}

#[tokio::test(start_paused = true)]
async fn clients_with_the_same_ids_get_their_own_answers_with_their_own_ids() {
    let (rig, mut child) = modern().await;
    let with_token =
        |id: Value| Request::new(id, "tools/call", json!({ "name": "a", "_meta": { "progressToken": "t" } }));
    let (one, two) = (with_token(json!(1)), with_token(json!("1")));
    let serve = async {
        let first = child.asked("tools/call").await;
        let second = child.asked("tools/call").await;
        for (request, progress) in [(&second, 2), (&first, 1)] {
            let token = &request["params"]["_meta"]["progressToken"];
            let told = json!({ "progressToken": token, "progress": progress });
            child
                .says(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": told }))
                .await;
        }
        child.answers(&second, json!({ "of": 2, "_meta": { "x": 1.0 } })).await;
        child.answers(&first, json!({ "of": 1 })).await;
        child
    };
    let (mut one, mut two, mut child) = tokio::join!(one.ask(&rig), two.ask(&rig), serve);
    for (answer, id, of) in [(&mut one, json!(1), 1), (&mut two, json!("1"), 2)] {
        assert_eq!((answer.status(), answer.header("content-type")), (200, Some("text/event-stream")));
        let told = answer.message().await.expect("progress");
        assert_eq!(
            (&told["params"]["progressToken"], &told["params"]["progress"]),
            (&json!("t"), &json!(of))
        );
        let said = answer.message().await.expect("the answer");
        assert_eq!((&said["id"], &said["result"]["of"]), (&id, &json!(of)));
        assert_eq!(answer.event().await, None);
    }
    let big = r#"{"jsonrpc":"2.0","id":12345678901234567890123,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{},"io.modelcontextprotocol/clientCapabilities":{}},"n":1.0}}"#;
    let serve = async {
        let Some(Line::Whole(line)) = child.stdin.next().await else { panic!("it is sent a line") };
        let line = String::from_utf8(line.to_vec()).expect("text");
        assert!(line.ends_with(r#""n":1.0}}"#), "all else stays: {line}");
        let asked: Value = serde_json::from_str(&line).expect("JSON");
        child.answers(&asked, json!({})).await;
    };
    let headers = [("mcp-protocol-version", MODERN), ("mcp-method", "ping")];
    let (answer, ()) = tokio::join!(rig.ask("POST", &headers, big), serve);
    assert!(answer.text().await.contains(r#""id":12345678901234567890123,"#));
}

#[tokio::test(start_paused = true)]
async fn an_error_has_the_status_of_its_code() {
    let (rig, mut child) = modern().await;
    for (code, status) in
        [(-32601, 404), (-32020, 400), (-32021, 400), (-32022, 400), (-32602, 200), (-32000, 200)]
    {
        let serve = async {
            let asked = child.asked("tools/call").await;
            let error = json!({ "code": code, "message": "no" });
            child.says(&json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error })).await;
        };
        let request = Request::call(3, "a");
        let (answer, ()) = tokio::join!(request.ask(&rig), serve);
        let kind = if status == 200 { "text/event-stream" } else { "application/json" };
        assert_eq!((answer.status(), answer.header("content-type")), (status, Some(kind)));
        let said = answer.json().await;
        assert_eq!((&said["id"], &said["error"]["code"]), (&json!(3), &json!(code)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_handshake_of_the_other_era_is_no_method_of_this_one() {
    let (rig, _child) = modern().await;
    let answer = Request::new(1, "initialize", json!({})).ask(&rig).await;
    assert_eq!((answer.status(), rig.is_started()), (404, false));
    assert_eq!(answer.json().await["error"]["code"], -32601);
}

#[tokio::test(start_paused = true)]
async fn headers_that_contradict_the_body_never_reach_the_process() {
    let (rig, mut child) = modern().await;
    let run = |region: &str| {
        Request::new(1, "tools/call", json!({ "name": "run", "arguments": { "region": region } }))
    };
    for wrong in [
        Request::call(1, "a").with("mcp-method", "tools/list"),
        Request::call(1, "a").with("mcp-name", "b"),
        Request::call(1, "a").with("mcp-protocol-version", "2026-07-29"),
        run("eu"),
        run("eu").with("mcp-param-region", "us"),
    ] {
        let answer = wrong.ask(&rig).await;
        assert_eq!(answer.status(), 400, "{:?}", wrong.1);
        assert_eq!(answer.json().await["error"]["code"], -32020);
    }
    let serve = async {
        let asked = child.asked("tools/call").await;
        child.answers(&asked, json!({})).await;
        // The tools change, and with them the headers.
        let params = json!({ "_meta": { "io.modelcontextprotocol/subscriptionId": 4 } });
        let changed =
            json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": params });
        child.says(&changed).await;
        lists_tools(&mut child, "Zone").await;
        child
    };
    let right = run("eu").with("mcp-param-region", "eu");
    let (answer, mut child) = tokio::join!(right.ask(&rig), serve);
    assert_eq!(answer.status(), 200);
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(right.ask(&rig).await.status(), 400, "the header has another name now");
    let serve = async {
        let asked = child.asked("tools/call").await;
        child.answers(&asked, json!({})).await;
    };
    let right = run("eu").with("mcp-param-zone", "eu");
    assert_eq!(tokio::join!(right.ask(&rig), serve).0.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_its_request_before_and_after_the_head() {
    let (rig, mut child) = modern().await;
    let request = Request::call(1, "a");
    let mut asking = Box::pin(request.ask(&rig));
    let asked = tokio::select! {
        _ = &mut asking => panic!("nobody answers it"),
        asked = child.asked("tools/call") => asked,
    };
    drop(asking);
    let told = child.asked("notifications/cancelled").await;
    assert_eq!(told["params"]["requestId"], asked["id"]);
    let serve = async {
        let asked = child.asked("tools/call").await;
        let told = json!({ "level": "info", "data": "x" });
        child.says(&json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": told })).await;
        asked
    };
    let (mut answer, asked) = tokio::join!(request.ask(&rig), serve);
    assert_eq!(answer.message().await.expect("it goes on")["params"]["data"], "x");
    drop(answer);
    assert_eq!(child.asked("notifications/cancelled").await["params"]["requestId"], asked["id"]);
    // A late answer is nobody's, and the number is never used again.
    child.answers(&asked, json!({})).await;
    let serve = async {
        let next = child.asked("tools/call").await;
        assert_ne!(next["id"], asked["id"]);
        child.answers(&next, json!({})).await;
        assert!(tokio::time::timeout(std::time::Duration::from_secs(60), child.hears()).await.is_err());
    };
    let (answer, ()) = tokio::join!(request.ask(&rig), serve);
    assert_eq!(answer.json().await["id"], 1, "one that was answered is not cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_notifications_is_its_clients_until_the_process_ends_it() {
    let (rig, mut child) = modern().await;
    let listen = |id: &str| {
        let wanted = json!({ "notifications": { "toolsListChanged": true } });
        Request::new(id, "subscriptions/listen", wanted)
    };
    let serve = async {
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let number = child.asked("subscriptions/listen").await["id"].clone();
            let meta = json!({ "_meta": { "io.modelcontextprotocol/subscriptionId": number } });
            let method = "notifications/subscriptions/acknowledged";
            child.says(&json!({ "jsonrpc": "2.0", "method": method, "params": meta })).await;
            numbers.push(number);
        }
        numbers
    };
    let (ask_one, ask_two) = (listen("one"), listen("two"));
    let (mut one, mut two, numbers) = tokio::join!(ask_one.ask(&rig), ask_two.ask(&rig), serve);
    for (stream, id) in [(&mut one, "one"), (&mut two, "two")] {
        let said = stream.message().await.expect("it is acknowledged");
        assert_eq!(said["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
    }
    let torn = json!({ "requestId": numbers[0] });
    child.says(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": torn })).await;
    assert_eq!(one.message().await, None);
    drop(child);
    assert_eq!(two.message().await, None);
    let restarted = async {
        let mut child = rig.child().await;
        let asked = child.asked("server/discover").await;
        child.answers(&asked, json!({ "capabilities": {} })).await;
        let asked = child.asked("tools/call").await;
        child.answers(&asked, json!({})).await;
    };
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let request = Request::call(1, "a");
    assert_eq!(tokio::join!(request.ask(&rig), restarted).0.status(), 200, "it is started anew");
}

#[tokio::test(start_paused = true)]
async fn what_names_no_request_is_told_only_if_it_can_be_of_one() {
    let (rig, mut child) = modern().await;
    let serve = async {
        let first = child.asked("tools/call").await;
        let second = child.asked("tools/call").await;
        let told = json!({ "level": "info", "data": "secret" });
        child.says(&json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": told })).await;
        child.says(&json!({ "jsonrpc": "2.0", "id": 99, "method": "sampling/createMessage" })).await;
        assert_eq!(child.hears().await.expect("an error")["error"]["code"], -32601);
        child.answers(&first, json!({})).await;
        child.answers(&second, json!({})).await;
    };
    let (one, two) = (Request::call(1, "a"), Request::call(2, "a"));
    let (one, two, ()) = tokio::join!(one.ask(&rig), two.ask(&rig), serve);
    for answer in [one, two] {
        assert!(!answer.text().await.contains("secret"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_answers_all_and_the_next_start_waits() {
    let (rig, mut child) = modern().await;
    let crash = async {
        child.asked("tools/call").await;
        child.dies("out of memory\n").await;
    };
    let request = Request::call(1, "a");
    let (answer, ()) = tokio::join!(request.ask(&rig), crash);
    let error = answer.json().await;
    assert!(error["error"]["message"].as_str().expect("text").contains("out of memory"), "{error}");
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let answer = request.ask(&rig).await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
}

// Seen to fail: without the look at `is_judged` where the child ran, and with it set before
// the tools are known. Whoever asked would wait for ever.
#[tokio::test(start_paused = true)]
async fn a_crash_while_it_is_asked_what_it_is_is_answered_at_once() {
    for answers_first in [false, true] {
        let rig = Rig::new();
        let crash = async {
            let mut child = rig.child().await;
            let asked = child.asked("server/discover").await;
            if answers_first {
                child.answers(&asked, json!({ "capabilities": { "tools": {} } })).await;
                child.asked("tools/list").await;
            }
            child.dies("no licence found\n").await;
        };
        let (request, start) = (Request::call(1, "a"), Instant::now());
        let (answer, ()) = tokio::join!(request.ask(&rig), crash);
        assert_eq!((answer.status(), start.elapsed().as_secs()), (502, 0), "{answers_first}");
        let error = answer.json().await;
        assert!(error["error"]["message"].as_str().expect("text").contains("no licence found"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_of_the_legacy_era_is_found_out_and_modern_clients_are_told() {
    for silent in [false, true] {
        let rig = Rig::new();
        let serve = async {
            let mut child = rig.child().await;
            let asked = child.asked("server/discover").await;
            if !silent {
                let error = json!({ "code": -32601, "message": "Method not found" });
                child.says(&json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error })).await;
            }
            assert_eq!(child.hears().await, None, "it is not needed any more");
        };
        let start = Instant::now();
        let request = Request::call(5, "a");
        let (answer, ()) = tokio::join!(request.ask(&rig), serve);
        assert_eq!((answer.status(), start.elapsed().as_secs()), (400, if silent { 30 } else { 0 }));
        let error = answer.json().await;
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(5), &json!(-32000)));
        assert_eq!(rig.upstream.probe().await, Ok(()));
        rig.session().await;
        assert!(!rig.is_started());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_of_both_eras_serves_both() {
    let (rig, mut shared) = modern().await;
    let (id, mut own) = rig.session().await;
    let mut answer = rig.ask("POST", &[("mcp-session-id", &id)], call(1, "a")).await;
    let asked = own.asked("tools/call").await;
    own.answers(&asked, json!({ "by": "own" })).await;
    assert_eq!(answer.message().await.expect("the answer")["result"]["by"], "own");
    let serve = async {
        let asked = shared.asked("tools/call").await;
        shared.answers(&asked, json!({ "by": "shared" })).await;
    };
    let request = Request::call(1, "a");
    let (answer, ()) = tokio::join!(request.ask(&rig), serve);
    assert_eq!(answer.header("mcp-session-id"), None);
    assert_eq!(answer.json().await["result"]["by"], "shared");
}

#[tokio::test(start_paused = true)]
async fn the_shared_process_has_a_bound_on_its_requests() {
    let (rig, mut child) = modern().await;
    let requests: Vec<_> = (0..256).map(|id| Request::call(id, "a")).collect();
    let mut asking = futures_util::stream::FuturesUnordered::new();
    for request in &requests {
        asking.push(request.ask(&rig));
    }
    let all = async {
        for _ in 0..256 {
            child.asked("tools/call").await;
        }
    };
    tokio::select! {
        () = all => {}
        _ = futures_util::StreamExt::next(&mut asking) => panic!("nobody answers them"),
    }
    let answer = Request::call(256, "a").ask(&rig).await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
}
