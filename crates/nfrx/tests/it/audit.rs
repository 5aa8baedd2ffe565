//! What an operator does is in the log, whatever came of it.

use nfrx_testkit::http::{HttpClient, post};

use crate::process::{free_addr, nfrx};

// Seen to fail: with the line written for clients' routes only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_leaves_a_line_that_says_who_did_what() {
    let addr = free_addr();
    let keys = [("API_KEY", "api-key-for-tests"), ("ADMIN_KEY", "admin-key-for-tests")];
    let server = nfrx(&["server", "--listen-addr", &addr.to_string()], &keys);
    server.wait_for("ready");
    let mut client = HttpClient::connect(addr).await.expect("it listens");
    let request = post("/api/llm/workers/den/drain", Some(keys[1].1), &serde_json::json!({}));
    assert_eq!(client.ask(request).await.expect("an answer").status(), 404);
    let line = server.wait_for(r#""target":"audit""#);
    for part in [r#""url":"/api/llm/workers/den/drain""#, r#""status":404"#, r#""plugin":"llm""#, "127.0.0.1"]
    {
        assert!(line.contains(part), "no `{part}` in {line}");
    }
    assert!(!line.contains(keys[1].1), "the key itself is nobody's business");
}
