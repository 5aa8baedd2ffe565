//! A server that wants a token of the agent's own, and the endpoint that gives it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nfrx_mcp::agent::diagnose;
use nfrx_testkit::relay::Relay;

use crate::fake::{Fake, Reply, Seen};
use crate::rig::{Folder, McpAgent, Plan, clients, config, post, relay};

/// What the endpoint does next.
#[derive(Clone, Copy, PartialEq)]
enum Endpoint {
    /// Gives tokens `t1`, `t2` and so on, good for a hundred seconds.
    Gives,
    /// Takes the secret in the form only.
    GivesForForms,
    /// Wants to be asked elsewhere.
    Redirects(&'static str),
    /// Knows no such client.
    Refuses,
    /// Is silent.
    Silent,
}

/// A server that takes the newest token, and its endpoint.
#[derive(Clone)]
struct Login(Arc<Mutex<State>>);

struct State {
    endpoint: Endpoint,
    given: u32,
    /// Tokens below this number are refused.
    valid_from: u32,
}

impl Login {
    fn new(endpoint: Endpoint) -> (Self, Fake) {
        let login = Self(Arc::new(Mutex::new(State { endpoint, given: 0, valid_from: 1 })));
        let state = Arc::clone(&login.0);
        let fake = Fake::new(move |seen| state.lock().expect("no script panics").answer(seen));
        (login, fake)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().expect("no script panics"));
    }
}

impl State {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if !seen.target.ends_with("/token") {
            let number = bearer(seen).strip_prefix("Bearer t").and_then(|number| number.parse::<u32>().ok());
            return match number {
                Some(number) if number >= self.valid_from => Reply::json(format!("[\"t{number}\"]")),
                _ => Reply::new(401, &[], "who are you"),
            };
        }
        let text = String::from_utf8_lossy(&seen.body);
        match self.endpoint {
            Endpoint::Silent => return Reply::Never,
            Endpoint::Redirects(to) if seen.target == "/token" => {
                return Reply::new(307, &[("location", to)], "");
            }
            Endpoint::Refuses => return Reply::new(401, &[], r#"{"error":"invalid_client"}"#),
            Endpoint::GivesForForms if !text.contains("client_secret=hunter2") => {
                return Reply::new(400, &[], r#"{"error":"invalid_client"}"#);
            }
            Endpoint::Gives | Endpoint::GivesForForms | Endpoint::Redirects(_) => {}
        }
        self.given += 1;
        let given = self.given;
        Reply::json(format!(r#"{{"access_token":"t{given}","token_type":"Bearer","expires_in":100}}"#))
    }
}

fn bearer(seen: &Seen) -> &str {
    seen.headers.get("authorization").map_or("", |value| value.to_str().expect("text"))
}

fn plan() -> Plan {
    Plan::new("clock")
        .with("mcp_oauth_token_url", "http://10.0.0.6/token")
        .with("mcp_oauth_client_id", "den")
        .with("mcp_oauth_client_secret", "hunter2")
        .with("mcp_oauth_scopes", "read,write")
}

async fn start(plan: Plan, fake: &Fake) -> (Relay, McpAgent) {
    let relay = relay(config(&[]));
    let agent = plan.join(&relay.entrance(), fake).await;
    (relay, agent)
}

fn targets(fake: &Fake) -> Vec<String> {
    fake.seen().into_iter().map(|seen| seen.target).collect()
}

// Seen to fail: with a fetch for each request, and without the scope.
#[tokio::test(start_paused = true)]
async fn requests_at_once_share_one_token_which_is_the_agents_own() {
    let (_login, fake) = Login::new(Endpoint::Gives);
    let (relay, _agent) = start(plan(), &fake).await;
    let (one, two, three) = tokio::join!(relay.ask(post("{}")), relay.ask(post("{}")), relay.ask(post("{}")));
    for answer in [one, two, three] {
        assert_eq!((answer.status().as_u16(), answer.text()), (200, r#"["t1"]"#.to_owned()));
    }
    let seen = fake.seen();
    assert_eq!(targets(&fake).iter().filter(|target| *target == "/token").count(), 1);
    let asked = seen.iter().find(|seen| seen.target == "/token").expect("one was fetched");
    assert_eq!(asked.body, "grant_type=client_credentials&scope=read%20write");
    // `den:hunter2`, and not the key of the relay's clients.
    assert_eq!((asked.method.as_str(), bearer(asked)), ("POST", "Basic ZGVuOmh1bnRlcjI="));
}

// Seen to fail: with a token used to its last second.
#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_anew_a_little_before_it_expires() {
    let (_login, fake) = Login::new(Endpoint::Gives);
    let (relay, _agent) = start(plan(), &fake).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    tokio::time::advance(Duration::from_secs(85)).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t2"]"#);
}

// Seen to fail: without the second try, and with one without end.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_replaced_once_for_the_same_request() {
    let (login, fake) = Login::new(Endpoint::Gives);
    let (relay, _agent) = start(plan(), &fake).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    login.set(|state| state.valid_from = 2);
    assert_eq!(relay.ask(post(r#"{"a":1}"#)).await.text(), r#"["t2"]"#);
    let last: Vec<_> = fake.seen().into_iter().filter(|seen| seen.target == "/mcp").collect();
    assert_eq!((last.len(), &last[1].body, &last[2].body), (3, &last[2].body, &last[1].body));
    // Whatever is fetched, the server does not want it.
    login.set(|state| state.valid_from = 9);
    let before = targets(&fake).len();
    let refused = relay.ask(post("{}")).await;
    assert_eq!((refused.status().as_u16(), refused.text()), (401, "who are you".to_owned()));
    assert_eq!(targets(&fake)[before..], ["/mcp", "/token", "/mcp"]);
    assert_eq!(relay.ask(post("{}")).await.status(), 401);
    assert_eq!(targets(&fake)[before + 3..], ["/token", "/mcp"], "a new token is not replaced");
}

// Seen to fail: with a long body sent in part the second time.
#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_made_again_gets_the_refusal_and_the_next_a_new_token() {
    let (login, fake) = Login::new(Endpoint::Gives);
    let (relay, _agent) = start(plan(), &fake).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    login.set(|state| state.valid_from = 2);
    let before = targets(&fake).len();
    assert_eq!(relay.ask(post(vec![b' '; 3 * 1024 * 1024])).await.status(), 401);
    assert_eq!(targets(&fake)[before..], ["/mcp"]);
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t2"]"#);
}

// Seen to fail: with the secret in the header only.
#[tokio::test(start_paused = true)]
async fn an_endpoint_may_take_the_secret_in_the_form_and_is_asked_so_from_then_on() {
    let (login, fake) = Login::new(Endpoint::GivesForForms);
    let (relay, _agent) = start(plan(), &fake).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    login.set(|state| state.valid_from = 2);
    let before = targets(&fake).len();
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t2"]"#);
    assert_eq!(targets(&fake)[before..], ["/mcp", "/token", "/mcp"]);
}

// Seen to fail: with redirects followed to any address.
#[tokio::test(start_paused = true)]
async fn the_secret_goes_to_the_endpoints_own_host_only() {
    let (login, fake) = Login::new(Endpoint::Redirects("/other/token"));
    let (relay, _agent) = start(plan(), &fake).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    login.set(|state| (state.endpoint, state.valid_from) = (Endpoint::Redirects("http://h/other/token"), 2));
    let before = targets(&fake).len();
    assert_eq!(relay.ask(post("{}")).await.status(), 401);
    assert_eq!(targets(&fake)[before..], ["/mcp", "/token"]);
}

// Seen to fail: with a silent endpoint waited for without end, and with each request asking
// an endpoint that has just failed.
#[tokio::test(start_paused = true)]
async fn without_a_token_a_request_fails_in_time_and_never_reaches_the_server() {
    for (endpoint, status) in [(Endpoint::Silent, 504), (Endpoint::Refuses, 502)] {
        let (_login, fake) = Login::new(endpoint);
        let (relay, agent) = start(plan(), &fake).await;
        let both = async { tokio::join!(relay.ask(post("{}")), relay.ask(post("{}"))) };
        let (one, two) = tokio::time::timeout(Duration::from_secs(15), both).await.expect("a bound");
        assert_eq!((one.status().as_u16(), two.status().as_u16()), (status, status));
        let status = agent.until(|status| !status.last_error.is_empty()).await;
        assert!(status.last_error.contains("token endpoint http://10.0.0.6/token"), "{}", status.last_error);
        assert!(!status.last_error.contains("hunter2"));
        assert!(targets(&fake).iter().all(|target| target == "/token"), "{:?}", targets(&fake));
        let most = if endpoint == Endpoint::Silent { 1 } else { 2 };
        assert!(targets(&fake).len() <= most, "{:?}", targets(&fake));
    }
}

// Seen to fail: without the file read at the start.
#[tokio::test(start_paused = true)]
async fn a_token_outlives_the_agent_in_its_file() {
    let (folder, (_login, fake)) = (Folder::new("oauth"), Login::new(Endpoint::Gives));
    let file = folder.write("here", "").with_file_name("token.json");
    let plan = plan().with("mcp_oauth_token_file", file.to_str().expect("text"));
    let (relay, agent) = start(plan.clone(), &fake).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    drop((relay, agent));
    let (relay, _agent) = start(plan, &fake).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    assert_eq!(targets(&fake).iter().filter(|target| *target == "/token").count(), 1);
    let kept = std::fs::read_to_string(&file).expect("it was written");
    assert!(!kept.contains("hunter2"), "the secret is not kept");
}

// Seen to fail: with the endpoint looked at through the file of the agent.
#[tokio::test(start_paused = true)]
async fn the_doctor_says_when_the_endpoint_is_the_problem() {
    let (login, fake) = Login::new(Endpoint::Gives);
    let folder = Folder::new("oauth-doctor");
    let file = folder.write("here", "").with_file_name("token.json");
    let plan = plan().with("mcp_oauth_token_file", file.to_str().expect("text"));
    let (relay, agent) = start(plan.clone(), &fake).await;
    assert_eq!(relay.ask(post("{}")).await.text(), r#"["t1"]"#);
    drop((relay, agent));
    let said = async || {
        let (config, mcp) = plan.settings();
        let findings = diagnose(&config, &mcp, None, clients(&fake)).await.expect("something to look at");
        assert_eq!(findings.len(), 4);
        (findings[0].to_string(), findings[1].outcome.clone())
    };
    assert_eq!(said().await.0, "ok    token endpoint http://10.0.0.6/token of clock: it gives `den` a token");
    login.set(|state| state.endpoint = Endpoint::Refuses);
    let (endpoint, backend) = said().await;
    assert!(
        endpoint.starts_with("FAIL  token endpoint") && endpoint.contains("`invalid_client`"),
        "{endpoint}"
    );
    assert!(backend.is_err_and(|problem| problem.contains("get a token")));
}
