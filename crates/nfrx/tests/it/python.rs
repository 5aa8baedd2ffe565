//! The openai SDK against a real engine, through server and agent. Left out where there
//! is no Python environment: `cargo xtask test` says so.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nfrx_testkit::tee::Tee;
use serde_json::Value;

use crate::process::{Process, free_addr, nfrx};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/python");
const MODEL: &str = "gemma3:270m-q4_k_m";

// Seen to fail: with a byte changed in the answer's body, and with the SDK's key wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_sdk_gets_byte_for_byte_what_a_real_engine_sent() {
    let python = std::env::var("NFRX_PYTHON").expect("`cargo xtask test` sets NFRX_PYTHON");
    let mut command = Command::new(&python);
    command.arg(format!("{SCRIPTS}/real_engine.py")).args(["0", "--embeddings"]);
    let engine = Process::start(command);
    let line = engine.wait_for("ready http://");
    let engine_addr = line.trim().trim_start_matches("ready http://").parse().expect("an address");
    let tee = Tee::start(engine_addr).await.expect("loopback has free ports");

    let server_addr = free_addr().to_string();
    let keys = [("API_KEY", "api-key-for-tests"), ("CLIENT_KEY", "client-key-for-tests")];
    let server = nfrx(&["server", "--listen-addr", &server_addr], &keys);
    server.wait_for("ready");
    let agent = nfrx(
        &["llm"],
        &[
            ("SERVER_URL", &format!("ws://{server_addr}/api/llm/connect")),
            ("COMPLETION_BASE_URL", &format!("http://{}/v1", tee.addr())),
            keys[1],
        ],
    );
    agent.wait_for(r#""message":"connected""#);

    let mut sdk = Command::new(&python);
    sdk.arg(format!("{SCRIPTS}/openai_sdk.py"));
    sdk.args([&format!("http://{server_addr}/v1"), keys[0].1, MODEL, MODEL]);
    let output =
        tokio::task::spawn_blocking(move || sdk.output()).await.expect("it runs").expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the SDK does not understand an answer:\n{errors}\n{}", server.said());

    let got = String::from_utf8(output.stdout).expect("it prints JSON");
    let got: Vec<(String, Vec<u8>)> =
        got.lines().map(exchange).filter(|(path, _)| path != "/models").collect();
    let records = tee.records();
    let probes = ["/v1/models", "/props", "/api/version"];
    let sent: Vec<_> = records.iter().filter(|record| !probes.contains(&record.path.as_str())).collect();
    assert_eq!(got.len(), 4, "chat twice, a completion, embeddings");
    for (got, sent) in got.iter().zip(&sent) {
        assert!(sent.complete && got.1 == sent.body, "{} differs from what the engine sent", got.0);
    }
    assert_eq!(got.len(), sent.len());
}

/// The path behind `/v1` and the body of a line of the script.
fn exchange(line: &str) -> (String, Vec<u8>) {
    let value: Value = serde_json::from_str(line).expect("one object a line");
    let path = value["path"].as_str().unwrap_or_default().trim_start_matches("/v1").to_owned();
    let body = STANDARD.decode(value["body"].as_str().unwrap_or_default()).expect("base64");
    (path, body)
}
