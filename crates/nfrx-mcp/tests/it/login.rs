//! Who may call a server (KD-120).

use http::Request;
use nfrx_testkit::http::Answer;
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::{API_KEY, LOCAL, REMOTE, Relay, ServerConfig, WORKER_KEY, patiently};

use crate::fake::Fake;
use crate::rig::{CLOCK, McpAgent, Plan, config, header, relay, request};

/// A call with this `Authorization`, and nothing else by which one is known.
fn call(method: &str, bearer: &str) -> Request<bytes::Bytes> {
    let mut request = request(method, CLOCK, &[], "{}");
    match bearer {
        "" => request.headers_mut().remove("authorization"),
        bearer => request
            .headers_mut()
            .insert("authorization", format!("Bearer {bearer}").parse().expect("a value")),
    };
    request
}

async fn ask(relay: &Relay, peer: &str, request: Request<bytes::Bytes>) -> Answer {
    let (mut client, _) = relay.client_over(PipeOptions::default(), peer).await;
    patiently(client.ask(request)).await.expect("an answer")
}

async fn start(config: ServerConfig, plan: Plan) -> (Relay, McpAgent, Fake) {
    let fake = Fake::plain();
    let relay = relay(config);
    let agent = plan.join(&relay.entrance(), &fake).await;
    (relay, agent, fake)
}

#[tokio::test(start_paused = true)]
async fn with_a_key_set_no_method_answers_without_it() {
    let (relay, _agent, fake) = start(config(&[]), Plan::new("clock")).await;
    for method in ["POST", "GET", "DELETE"] {
        for bearer in ["", "wrong", WORKER_KEY] {
            let answer = ask(&relay, LOCAL, call(method, bearer)).await;
            assert_eq!(answer.status(), 401, "{method} with `{bearer}`");
            assert!(answer.text().contains("MCP_PUBLIC=true"), "{}", answer.text());
        }
        assert_eq!(ask(&relay, REMOTE, call(method, API_KEY)).await.status(), 200, "{method}");
    }
    // Seen to fail: with the key left in the headers and `Authorization` passed on.
    assert!(fake.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_learns_of_no_id() {
    let (relay, agent, _) = start(config(&[]), Plan::new("clock")).await;
    let other = || {
        let mut request = call("POST", "wrong");
        *request.uri_mut() = "/api/mcp/id/nobody".parse().expect("a path");
        request
    };
    let known = ask(&relay, REMOTE, call("POST", "wrong")).await;
    let unknown = ask(&relay, REMOTE, other()).await;
    assert_eq!((known.status(), known.text()), (unknown.status(), unknown.text()));
    agent.kill();
    let away = ask(&relay, REMOTE, call("POST", "wrong")).await;
    assert_eq!((away.status(), away.text()), (unknown.status(), unknown.text()));
}

#[tokio::test(start_paused = true)]
async fn a_servers_own_token_opens_it_and_stays_with_the_relay() {
    let plan = Plan::new("clock").with("auth_token", "of-the-clock");
    let (relay, _agent, fake) = start(config(&[]), plan).await;
    assert_eq!(ask(&relay, REMOTE, call("POST", "of-the-clock")).await.status(), 200);
    assert_eq!(ask(&relay, REMOTE, call("POST", "of-the-clock2")).await.status(), 401);
    assert_eq!(ask(&relay, REMOTE, call("POST", API_KEY)).await.status(), 200);
    assert!(fake.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));
}

#[tokio::test(start_paused = true)]
async fn without_a_key_this_machine_is_served_and_nobody_else_unless_told_so() {
    let local = |mcp: &[(&str, &str)]| {
        let mut ours = config(mcp);
        ours.login.api.key = None;
        ours
    };
    let (relay, _agent, _) = start(local(&[]), Plan::new("clock")).await;
    assert_eq!(ask(&relay, LOCAL, call("POST", "")).await.status(), 200);
    let answer = ask(&relay, REMOTE, call("POST", "")).await;
    assert_eq!(answer.status(), 401);
    let hint = answer.text();
    assert!(hint.contains("API_KEY") && hint.contains("MCP_PUBLIC=true"), "{hint}");
    let (relay, _agent, _) = start(local(&[("public", "true")]), Plan::new("clock")).await;
    assert_eq!(ask(&relay, REMOTE, call("POST", "")).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_open_relay_still_asks_for_a_servers_own_token() {
    let plan = Plan::new("clock").with("auth_token", "of-the-clock");
    let (relay, _agent, _) = start(config(&[("public", "true")]), plan).await;
    let answer = ask(&relay, REMOTE, call("POST", "")).await;
    assert!(answer.status() == 401 && answer.text().contains("its own token"), "{}", answer.text());
    assert_eq!(ask(&relay, REMOTE, call("POST", "of-the-clock")).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_authorization_passes_where_the_agent_wants_it() {
    let plan = Plan::new("clock").with("mcp_pass_authorization", "true");
    let (relay, _agent, fake) = start(config(&[]), plan).await;
    let own = |key| {
        request("POST", CLOCK, &[("x-nfrx-key", key), ("authorization", "Bearer of-the-provider")], "{}")
    };
    assert_eq!(ask(&relay, REMOTE, own(API_KEY)).await.status(), 200);
    let seen = fake.seen().pop().expect("it arrived");
    assert_eq!(seen.headers["authorization"], "Bearer of-the-provider");
    assert!(!seen.headers.contains_key("x-nfrx-key"));
    assert_eq!(ask(&relay, REMOTE, own("wrong")).await.status(), 401);
    // The relay's own key is nobody else's, wherever it is shown.
    assert_eq!(ask(&relay, REMOTE, call("POST", API_KEY)).await.status(), 200);
    assert!(!fake.seen().pop().expect("it arrived").headers.contains_key("authorization"));
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_sites_are_refused_whatever_they_do() {
    let (relay, _agent, fake) = start(config(&[]), Plan::new("clock")).await;
    for method in ["POST", "GET", "DELETE"] {
        for headers in [
            [("origin", "http://evil.example"), ("host", "localhost:8080")],
            // A name that was made to point here.
            [("origin", "http://evil.example"), ("host", "evil.example")],
        ] {
            let answer = relay.ask(request(method, CLOCK, &headers, "{}")).await;
            assert_eq!(answer.status(), 403, "{method} {headers:?}");
        }
        let own = [("origin", "http://localhost:8080"), ("host", "localhost:8080")];
        assert_eq!(relay.ask(request(method, CLOCK, &own, "{}")).await.status(), 200);
    }
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_may_call_sees_the_headers_of_the_protocol() {
    let mut ours = config(&[]);
    ours.origin.allowed_origins = vec!["https://app.example".to_owned()];
    let (relay, _agent, _) = start(ours, Plan::new("clock")).await;
    let page = [("origin", "https://app.example")];
    let answer = relay.ask(request("POST", CLOCK, &page, "{}")).await;
    assert_eq!(header(&answer, "access-control-allow-origin"), "https://app.example");
    let exposed = header(&answer, "access-control-expose-headers").to_ascii_lowercase();
    for name in ["mcp-session-id", "mcp-protocol-version", "www-authenticate"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "DELETE"),
        ("access-control-request-headers", "mcp-session-id"),
    ];
    let answer = relay.ask(request("OPTIONS", CLOCK, &preflight, "")).await;
    assert_eq!(header(&answer, "access-control-allow-methods"), "DELETE");
    assert_eq!(header(&answer, "access-control-allow-headers"), "Mcp-Session-Id");
}

#[tokio::test(start_paused = true)]
async fn with_a_public_address_a_server_is_described_and_the_refusal_says_where() {
    let (relay, _agent, _) = start(config(&[]), Plan::new("clock")).await;
    let described = "/.well-known/oauth-protected-resource/api/mcp/id/clock";
    assert_eq!(relay.ask(request("GET", described, &[], "")).await.status(), 404);
    assert!(
        !header(&ask(&relay, REMOTE, call("POST", "")).await, "www-authenticate")
            .contains("resource_metadata")
    );
    let mut ours = config(&[]);
    ours.origin.public_url = Some("https://relay.example".to_owned());
    let (relay, _agent, _) = start(ours, Plan::new("clock")).await;
    let challenge = ask(&relay, REMOTE, call("POST", "")).await;
    let url = format!("resource_metadata=\"https://relay.example{described}\"");
    assert!(header(&challenge, "www-authenticate").ends_with(&url));
    let answer = ask(&relay, REMOTE, {
        let mut request = call("GET", "");
        *request.uri_mut() = described.parse().expect("a path");
        request
    })
    .await;
    assert_eq!(answer.json()["resource"], "https://relay.example/api/mcp/id/clock");
}

#[tokio::test(start_paused = true)]
async fn a_named_key_reaches_the_servers_it_names() {
    let folder = std::env::temp_dir().join(format!("nfrx-mcp-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let file = folder.join("keys.yaml");
    // The digest of `hunter2`.
    let digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    std::fs::write(&file, format!("- name: ours\n  sha256: {digest}\n  workers: [weather]\n"))
        .expect("it is ours");
    let mut ours = config(&[]);
    ours.login.api.keys_file = Some(file);
    let (relay, _agent, fake) = start(ours, Plan::new("clock")).await;
    let refused = ask(&relay, REMOTE, call("POST", "hunter2")).await;
    std::fs::remove_dir_all(&folder).expect("it is ours");
    assert_eq!(refused.status(), 403);
    assert!(fake.seen().is_empty());
}
