//! Speech and documents with real processes, and settings under their old names.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http::Request;
use nfrx_sim::{Sim, SimConfig, SimHandle};
use nfrx_testkit::http::HttpClient;
use tokio::task::JoinSet;

use crate::process::{Process, free_addr, nfrx};

const API_KEY: &str = "api-key-for-tests";
const CLIENT_KEY: &str = "client-key-for-tests";
const BACKEND_KEY: &str = "backend-key-for-tests";

/// The agent's line once the server has welcomed it.
const CONNECTED: &str = r#""message":"connected""#;

struct Backend {
    sim: SimHandle,
    addr: SocketAddr,
    _task: JoinSet<()>,
}

impl Backend {
    async fn start() -> Self {
        let sim =
            Sim::bind(([127, 0, 0, 1], 0).into(), SimConfig::default()).await.expect("loopback has ports");
        let (addr, handle, mut task) = (sim.addr(), sim.handle(), JoinSet::new());
        task.spawn(async move {
            let _ = sim.serve(std::future::pending()).await;
        });
        Self { sim: handle, addr, _task: task }
    }
}

/// A settings file that is gone with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nfrx-it-{name}-{}.yaml", std::process::id()));
        std::fs::write(&path, text).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn start_server(addr: SocketAddr) -> Process {
    let settings = [("API_KEY", API_KEY), ("CLIENT_KEY", CLIENT_KEY), ("LISTEN_ADDR", &addr.to_string())];
    let server = nfrx(&["server"], &settings);
    server.wait_for("ready");
    server
}

fn upload(path: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ndemo\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n";
    let request =
        Request::post(path).header("host", "relay").header("authorization", format!("Bearer {API_KEY}"));
    let request = request.header("content-type", "multipart/form-data; boundary=b");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Bytes::from(form)).expect("a request")
}

async fn ask(addr: SocketAddr, request: Request<Bytes>) -> (u16, String) {
    let mut client = HttpClient::connect(addr).await.expect("the server listens");
    let answer = client.ask(request).await.expect("an answer");
    (answer.status().as_u16(), answer.text())
}

const TRANSCRIPTIONS: &str = "/api/asr/v1/audio/transcriptions";
const CONVERT: &str = "/api/docling/v1/convert/file";

// Seen to fail: with an alias of each option taken out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_take_their_old_settings_from_flags_variables_and_both_spellings_of_a_file() {
    let (backend, addr) = (Backend::start().await, free_addr());
    let _server = start_server(addr);
    let asr_url = format!("ws://{addr}/api/asr/connect");
    let base = format!("http://{}/v1", backend.addr);
    let old =
        format!("serverurl: {asr_url}\nclientkey: {CLIENT_KEY}\nbaseurl: {base}\napikey: {BACKEND_KEY}\n");
    let new = format!(
        "server_url: {asr_url}\nclient_key: {CLIENT_KEY}\nasr_base_url: {base}\nasr_api_key: {BACKEND_KEY}\n"
    );
    let (old, new) = (File::new("old", &old), File::new("new", &new));
    let file = |file: &File| file.0.display().to_string();
    let variables = [
        ("SERVER_URL", &*asr_url),
        ("CLIENT_KEY", CLIENT_KEY),
        ("ASR_BASE_URL", &base),
        ("ASR_API_KEY", BACKEND_KEY),
    ];
    let flags = ["asr", "--server-url", &asr_url, "--asr-base-url", &base, "--asr-api-key", BACKEND_KEY];
    let agents = [
        nfrx(&["asr", "--config", &file(&old)], &[]),
        nfrx(&["asr"], &[("CONFIG_FILE", &file(&new))]),
        nfrx(&["asr"], &variables),
        nfrx(&flags, &[("CLIENT_KEY", CLIENT_KEY)]),
    ];
    for agent in &agents {
        agent.wait_for(CONNECTED);
    }
    let doc_url = format!("ws://{addr}/api/docling/connect");
    let base = format!("http://{}", backend.addr);
    let old =
        format!("serverurl: {doc_url}\nclientkey: {CLIENT_KEY}\nbaseurl: {base}\napikey: {BACKEND_KEY}\n");
    let old = File::new("old-docling", &old);
    let docling = nfrx(&["docling", "--config", &file(&old)], &[]);
    docling.wait_for(CONNECTED);
    for path in [TRANSCRIPTIONS, CONVERT] {
        let (status, text) = ask(addr, upload(path, &[])).await;
        assert!(status == 200 && text.contains("simulated"), "{status} {text}");
        let seen = backend.sim.requests().pop().expect("it was asked");
        assert_eq!(seen.headers["authorization"], format!("Bearer {BACKEND_KEY}"));
    }
    assert!(agents.iter().all(|agent| !agent.said().contains(BACKEND_KEY)), "a key is in a log");
}

// KD-41. Seen to fail: with the agent cut at the first signal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_told_to_stop_finish_what_they_have_and_exit_0() {
    let (backend, addr) = (Backend::start().await, free_addr());
    let _server = start_server(addr);
    let (asr_url, doc_url) =
        (format!("ws://{addr}/api/asr/connect"), format!("ws://{addr}/api/docling/connect"));
    let (asr_base, doc_base) = (format!("http://{}/v1", backend.addr), format!("http://{}", backend.addr));
    for (name, url, base, path) in [
        ("asr", &asr_url, ("ASR_BASE_URL", &asr_base), TRANSCRIPTIONS),
        ("docling", &doc_url, ("DOC_BASE_URL", &doc_base), CONVERT),
    ] {
        let mut agent = nfrx(&[name], &[("SERVER_URL", url), ("CLIENT_KEY", CLIENT_KEY), (base.0, base.1)]);
        agent.wait_for(CONNECTED);
        let mut running = JoinSet::new();
        running.spawn(ask(addr, upload(path, &[("x-sim-first-token-ms", "700")])));
        backend.sim.wait_until(|stats| stats.in_flight == 1).await;
        agent.signal("TERM");
        let (status, text) = running.join_next().await.expect("one").expect("no panic");
        assert!(status == 200 && text.contains("simulated"), "{status} {text}");
        assert_eq!(agent.wait().code(), Some(0), "{}", agent.said());
    }
}
