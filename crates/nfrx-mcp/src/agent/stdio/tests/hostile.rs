//! Processes that crash, and that write what they must not, and clients that ask for nonsense.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_crash_in_initialize_is_answered_at_once_with_the_last_words() {
    let rig = Rig::new();
    let start = Instant::now();
    let crash = async {
        let mut child = rig.child().await;
        child.asked("initialize").await;
        child.dies("Error: no module named clock\n").await;
    };
    let (answer, ()) = tokio::join!(rig.ask("POST", &[], INITIALIZE), crash);
    assert_eq!((answer.status(), start.elapsed().as_secs()), (502, 0));
    let error = answer.json().await;
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(0), &json!(-32000)));
    let message = error["error"]["message"].as_str().expect("text");
    assert!(message.contains("no module named clock"), "{message}");
    // Too early for the next: it is not even started.
    let answer = rig.ask("POST", &[], INITIALIZE).await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().await.contains("no module named clock") && !rig.is_started());
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    rig.session().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_start_is_told_at_once() {
    let (children, started) = mpsc::channel(1);
    drop(started);
    let limits = SessionLimits {
        sessions_max: 1,
        idle_max: std::time::Duration::from_secs(60),
        start_max: std::time::Duration::from_secs(60),
    };
    let drain = Drain::new();
    let upstream =
        StdioUpstream::with_launch("clock", Arc::new(FakeLaunch(children)), Eras::Both, limits, &drain);
    let error = upstream.probe().await.expect_err("it can't be started");
    assert!(error.contains("nothing to start"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_midst_of_a_call_is_its_answer_and_the_sessions_end() {
    let rig = Rig::new();
    let (id, mut child) = rig.session().await;
    let session = [("mcp-session-id", id.as_str())];
    let mut answer = rig.ask("POST", &session, call(9, "a")).await;
    let mut own = rig.ask("GET", &session, "").await;
    child.asked("tools/call").await;
    child.dies("panic: at the clock\n").await;
    let error = answer.message().await.expect("an error");
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(9), &json!(-32000)));
    assert!(error["error"]["message"].as_str().expect("text").contains("panic: at the clock"));
    assert_eq!(answer.event().await, None);
    assert_eq!(own.message().await, None);
    assert_eq!(rig.ask("POST", &session, call(10, "a")).await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn nonsense_of_a_process_reaches_nobody() {
    let rig = Rig::new();
    let (id, mut child) = rig.session().await;
    let mut answer = rig.ask("POST", &[("mcp-session-id", &id)], call(1, "a")).await;
    let asked = child.asked("tools/call").await;
    child.writes(b"Listening on stdio...\n\n{\"jsonrpc\":\"2.0\"\n[1]\n\xff\xfe\n").await;
    child.says(&json!({ "jsonrpc": "2.0", "id": 5, "result": "whose" })).await;
    child.says(&json!({ "jsonrpc": "2.0", "id": "1", "result": "whose" })).await;
    child.says(&json!({ "jsonrpc": "2.0", "id": null, "error": { "code": 1, "message": "whose" } })).await;
    child.answers(&asked, json!("right")).await;
    child.answers(&asked, json!("doubled")).await;
    assert_eq!(answer.message().await.expect("the answer")["result"], "right");
    assert_eq!(answer.event().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_endless_line_ends_its_process_and_says_so() {
    let rig = Rig::new();
    let (id, mut child) = rig.session().await;
    let mut answer = rig.ask("POST", &[("mcp-session-id", &id)], call(1, "a")).await;
    child.asked("tools/call").await;
    let flood = async {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..32 {
            if child.stdout.write_all(&piece).await.is_err() {
                break;
            }
        }
        assert_eq!(child.hears().await, None, "its input has ended");
    };
    let (error, ()) = tokio::join!(answer.message(), flood);
    let error = error.expect("an error");
    assert!(error["error"]["message"].as_str().expect("text").contains("16777216 bytes"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_session_is_open_leaves_no_process() {
    let rig = Rig::new();
    let mut asking = Box::pin(rig.ask("POST", &[], INITIALIZE));
    let mut child = tokio::select! {
        _ = &mut asking => panic!("nobody answers it"),
        child = rig.child() => child,
    };
    drop(asking);
    while child.hears().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_none_are_refused_by_what_is_wrong() {
    let rig = Rig::new();
    let (id, _child) = rig.session().await;
    let session = ("mcp-session-id", id.as_str());
    for (headers, body, status) in [
        (vec![session], "{", 400),
        (vec![session], "[]", 400),
        (vec![session], r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, 400),
        (vec![session, ("content-type", "text/plain")], "{}", 415),
        (vec![session, ("accept", "application/json")], "{}", 406),
        (
            vec![session, ("mcp-protocol-version", "1999-01-01")],
            r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#,
            400,
        ),
    ] {
        assert_eq!(rig.ask("POST", &headers, body).await.status(), status, "{headers:?} {body}");
    }
    let long = format!("\"{}\"", "x".repeat(post::REQUEST_BYTES_MAX));
    assert_eq!(rig.ask("POST", &[session], long).await.status(), 413);
    assert_eq!(rig.ask("GET", &[session, ("accept", "application/json")], "").await.status(), 406);
    assert_eq!(rig.ask("GET", &[], "").await.status(), 400);
    for method in ["GET", "DELETE"] {
        let answer = rig.ask(method, &[("mcp-protocol-version", "2026-07-28")], "").await;
        assert_eq!((answer.status(), answer.header("allow")), (405, Some("POST")));
    }
}
