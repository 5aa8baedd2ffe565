use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nfrx_agent::client::{BackendClient, Connector, Stream};
use nfrx_agent::{Backend, BackendKey, BaseUrl, Found, ProbeError};
use nfrx_runtime::Drain;
use nfrx_sim::{Sim, SimConfig};
use nfrx_spi::{BoxFuture, PluginOptions, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

use super::*;

/// A runtime that answers each path as the test says, and remembers what it was asked.
/// A path that is not listed is 404; one whose answer is `None` is never answered.
#[derive(Clone)]
struct Runtime {
    answers: Arc<Mutex<BTreeMap<&'static str, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    tasks: Drain,
}

/// Status and body; `None` never comes.
type Answer = Option<(u16, String)>;

impl Runtime {
    fn new() -> Self {
        Self { answers: Arc::default(), asked: Arc::default(), tasks: Drain::new() }
    }

    fn answers(&self, path: &'static str, status: u16, body: &str) -> &Self {
        self.answers.lock().unwrap().insert(path, Some((status, body.to_owned())));
        self
    }

    fn hangs(&self, path: &'static str) -> &Self {
        self.answers.lock().unwrap().insert(path, None);
        self
    }

    /// What was asked since the last call: `path`, or `path key` with a key.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn serve(self, mut io: DuplexStream) {
        let mut head = Vec::new();
        while io.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
            let path = text.split(' ').nth(1).unwrap().to_owned();
            let key = text.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
            let entry = key.map_or(path.clone(), |key| format!("{path} {key}"));
            self.asked.lock().unwrap().push(entry);
            let answer = match self.answers.lock().unwrap().get(path.as_str()) {
                Some(Some((status, body))) => {
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                }
                Some(None) => continue,
                None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            io.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn backend(&self, options: &[(&str, &str)]) -> LlmBackend {
        let values = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = LlmConfig::from_options(&PluginOptions::new(llm_agent_specs(), values.collect()));
        let config = config.expect("valid options");
        let client = BackendClient::with_connector(config.base.clone(), Arc::new(self.clone()), None);
        LlmBackend::new(client.expect("a client"), &config)
    }
}

impl Connector for Runtime {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        let (near, far) = duplex(1 << 16);
        self.tasks.spawn("runtime", self.clone().serve(far));
        Box::pin(async { Ok(Box::pin(near) as Stream) })
    }
}

fn facts(found: &Found) -> Vec<(&str, &str)> {
    found.agent_config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

const ONE_MODEL: &str = r#"{"object":"list","data":[{"id":"phi"},{"id":""},{"name":"x"},{"id":"qwen"}]}"#;

#[tokio::test(start_paused = true)]
async fn an_openai_style_probe_lists_models_with_the_key() {
    let runtime = Runtime::new();
    runtime.answers("/v1/models", 200, ONE_MODEL).answers("/props", 200, r#"{"build_info":"b6700"}"#);
    let backend = runtime.backend(&[
        ("completion_base_url", "http://h:1/v1/"),
        ("completion_api_key", "secret"),
        ("embedding_batch_size", "16"),
    ]);
    let found = backend.probe().await.expect("ready");
    assert_eq!(found.models, ["phi", "qwen"]);
    assert_eq!(
        facts(&found),
        [("backend_family", "llama.cpp"), ("backend_version", "b6700"), ("embedding_batch_size", "16")]
    );
    assert_eq!(runtime.asked(), ["/v1/models secret", "/props secret"]);
}

#[tokio::test(start_paused = true)]
async fn an_ollama_style_probe_lists_tags_without_the_key() {
    let runtime = Runtime::new();
    runtime.answers("/a/api/tags", 200, r#"{"models":[{"name":"phi:3b","size":1}]}"#).answers(
        "/a/api/version",
        200,
        r#"{"version":"0.6.1"}"#,
    );
    let backend = runtime.backend(&[
        ("completion_base_url", "http://h:1/a/v1"),
        ("completion_api_key", "secret"),
        ("api_style", "Ollama"),
    ]);
    let found = backend.probe().await.expect("ready");
    assert_eq!(found.models, ["phi:3b"]);
    assert_eq!(facts(&found), [("backend_family", "ollama"), ("backend_version", "0.6.1")]);
    assert_eq!(runtime.asked(), ["/a/api/tags", "/a/props secret", "/a/api/version secret"]);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_without_models_is_ready() {
    for body in [r#"{"object":"list","data":null}"#, r#"{"data":[]}"#, "{}"] {
        let runtime = Runtime::new();
        runtime.answers("/v1/models", 200, body);
        assert_eq!(runtime.backend(&[]).probe().await.expect("ready"), Found::default(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_tells_the_operator_what_the_runtime_said() {
    let runtime = Runtime::new();
    let backend = runtime.backend(&[]);
    runtime.answers("/v1/models", 503, &"loading model ".repeat(100));
    let ProbeError(text) = backend.probe().await.expect_err("not ready");
    let start =
        "probe http://127.0.0.1:11434/v1/models: models status 503 Service Unavailable body=\"loading";
    assert!(text.starts_with(start), "{text}");
    assert!(text.len() < start.len() + 256, "the body is cut: {text}");

    for no_list in ["<html>", "[]", "\"data\""] {
        runtime.answers("/v1/models", 200, no_list);
        let ProbeError(text) = backend.probe().await.expect_err("not ready");
        assert!(text.contains("are not JSON"), "{text}");
    }
    let huge = format!(r#"{{"data":["{}"]}}"#, "x".repeat(2 << 20));
    let ProbeError(text) =
        runtime.answers("/v1/models", 200, &huge).backend(&[]).probe().await.expect_err("huge");
    assert!(text.contains("longer than"), "{text}");
}

// Seen to fail: without a limit of its own the hanging question hides the other.
#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_does_not_hide_the_next() {
    let runtime = Runtime::new();
    runtime.answers("/v1/models", 200, ONE_MODEL).hangs("/props").answers(
        "/api/version",
        200,
        r#"{"version":"0.6"}"#,
    );
    let found = tokio::time::timeout(Duration::from_secs(3), runtime.backend(&[]).probe()).await;
    let found = found.expect("within the probe's own limit").expect("ready");
    assert_eq!(facts(&found), [("backend_family", "ollama"), ("backend_version", "0.6")]);
}

#[tokio::test(start_paused = true)]
async fn the_version_is_asked_again_after_an_absence_and_after_an_hour() {
    let runtime = Runtime::new();
    let version =
        |text: &str| runtime.answers("/props", 200, &format!(r#"{{"build_info":"{text}"}}"#)).asked();
    runtime.answers("/v1/models", 200, ONE_MODEL);
    version("b1");
    let backend = runtime.backend(&[]);
    let probe = async || backend.probe().await.expect("ready").agent_config["backend_version"].clone();
    assert_eq!(probe().await, "b1");
    version("b2");
    // Nobody asks at each probe.
    assert_eq!(probe().await, "b1");
    assert_eq!(runtime.asked(), ["/v1/models"]);
    // Seen to fail: without `forget`.
    runtime.answers("/v1/models", 503, "");
    assert!(backend.probe().await.is_err());
    runtime.answers("/v1/models", 200, ONE_MODEL);
    assert_eq!(probe().await, "b2");
    version("b3");
    tokio::time::sleep(Duration::from_secs(61 * 60)).await;
    assert_eq!(probe().await, "b3");
    // What answers no more is taken back.
    runtime.answers("/props", 404, "").answers("/v1/models", 503, "");
    assert!(backend.probe().await.is_err());
    runtime.answers("/v1/models", 200, ONE_MODEL);
    assert_eq!(probe().await, "unknown");
}

#[tokio::test(start_paused = true)]
async fn a_given_version_is_told_without_a_question() {
    let runtime = Runtime::new();
    runtime.answers("/v1/models", 200, ONE_MODEL);
    let backend = runtime.backend(&[("completion_agent_version", " llama.cpp b9 ")]);
    let found = backend.probe().await.expect("ready");
    assert_eq!(facts(&found), [("backend_family", "llama.cpp"), ("backend_version", "llama.cpp b9")]);
    assert_eq!(runtime.asked(), ["/v1/models"]);
}

#[test]
fn only_the_runtimes_own_paths_may_pass() {
    let list = allowed();
    let allows = |method: Method, path: &str| list.allows(&method, &path.parse().expect("a path"));
    for path in ["/chat/completions", "/completions", "/responses", "/embeddings"] {
        assert!(allows(Method::POST, path) && !allows(Method::GET, path), "{path}");
    }
    assert!(allows(Method::GET, "/models"));
    for path in ["/api/pull", "/props", "/models/../api/pull", "/chat/completions/x"] {
        assert!(!allows(Method::POST, path) && !allows(Method::GET, path), "{path}");
    }
}

fn candidate(name: &'static str, addr: SocketAddr) -> Candidate {
    Candidate { name, base: BaseUrl::parse(&format!("http://{addr}/v1")).expect("an address") }
}

/// The address of a simulated runtime.
async fn sim(tasks: &Drain) -> SocketAddr {
    let sim = Sim::bind(([127, 0, 0, 1], 0).into(), SimConfig::default()).await.expect("a free port");
    let (addr, stop) = (sim.addr(), tasks.watch());
    tasks.spawn("sim", async move { sim.serve(async move { stop.cut().await }).await.expect("serves") });
    addr
}

/// The address of a server that gives one answer to everything.
async fn server(tasks: &Drain, answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tasks.spawn("server", async move {
        loop {
            let (mut io, _) = listener.accept().await.expect("a connection");
            let _ = io.read(&mut [0; 1024]).await;
            let _ = io.write_all(answer.as_bytes()).await;
        }
    });
    addr
}

#[tokio::test]
async fn the_first_candidate_that_is_a_runtime_is_found() {
    let tasks = Drain::new();
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    let web = server(&tasks, "HTTP/1.0 200 OK\r\n\r\n<html>It works</html>").await;
    let json = server(&tasks, "HTTP/1.0 200 OK\r\n\r\n{\"status\":\"ok\"}").await;
    // Seen to fail: without the look at the relay's own path.
    let relay = server(&tasks, "HTTP/1.0 200 OK\r\n\r\n{\"object\":\"list\",\"data\":[]}").await;
    let (first, second) = (sim(&tasks).await, sim(&tasks).await);
    let all = [
        candidate("nobody", nobody),
        candidate("web", web),
        candidate("json", json),
        candidate("relay", relay),
        candidate("first", first),
        candidate("second", second),
    ];
    let found = detect(all.to_vec()).await.expect("two are there");
    assert_eq!((found.candidate.name, found.models), ("first", 1));
    assert_eq!(detect(all[..4].to_vec()).await, None);
}

#[tokio::test]
async fn the_simulated_runtime_is_probed_like_a_real_one() {
    let tasks = Drain::new();
    let base = candidate("sim", sim(&tasks).await).base;
    let options = [("completion_base_url".to_owned(), base.to_string())];
    let config = LlmConfig::from_options(&PluginOptions::new(llm_agent_specs(), options.into()));
    let config = config.expect("valid options");
    let backend = LlmBackend::new(BackendClient::new(base, None).expect("a client"), &config);
    let found = backend.probe().await.expect("ready");
    assert_eq!(found.models, ["demo"]);
    assert_eq!(found.agent_config["backend_family"], "llama.cpp");
}

#[test]
fn a_key_is_never_shown() {
    let key = BackendKey::new(&Secret::new("hunter2")).expect("plain");
    assert!(!format!("{key:?}").contains("hunter2"));
}
