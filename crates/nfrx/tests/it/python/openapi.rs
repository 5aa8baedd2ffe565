//! The API's document, held against the server that serves it: requests made from the
//! document's own schemas, and each answer judged by what the document says of it.

use std::process::Command;

use super::{TESTS, from_xtask};
use crate::process::{free_addr, nfrx};
use crate::settings::TempDir;

/// What has no end, waits for somebody else, or is a file.
const LEFT_OUT: &str = r"^/api/(state|jobs)/stream$|/events$|^/api/jobs/claim$|^/api/transfer/\{|^/assets/";

/// Of a server without keys, whose sides are open to this machine; the bound of refused
/// logins would soon end the rest. Nor is it asked for what the contract does not have: `Allow`
/// beside methods that HTTP does not know, and refusals of bodies that workers read.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,positive_data_acceptance";

// Seen to fail: with a job's `revision` left out of its answer, and with `args` of options
// said to be an object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_answers_are_those_of_its_document() {
    let state = TempDir::new("document");
    let server_addr = free_addr().to_string();
    let settings =
        [("ADMIN_KEY", "admin-key-for-tests"), ("NFRX_STATE_DIR", state.0.to_str().expect("a plain path"))];
    let server = nfrx(&["server", "--listen-addr", &server_addr], &settings);
    server.wait_for("ready");

    let mut tool = Command::new(from_xtask("NFRX_PYTHON"));
    tool.args(["-m", "schemathesis.cli", "--config-file"]).arg(format!("{TESTS}/python/schemathesis.toml"));
    tool.args(["run", &format!("http://{server_addr}/api/client/openapi.json")]);
    tool.args(["--header", "Authorization: Bearer admin-key-for-tests"]);
    tool.args(["--exclude-path-regex", LEFT_OUT, "--checks", CHECKS]);
    tool.args(["--phases", "coverage,fuzzing", "--max-examples", "10", "--seed", "1"]);
    // It keeps notes where it runs.
    tool.env("NO_COLOR", "1").current_dir(&state.0);
    let output =
        tokio::task::spawn_blocking(move || tool.output()).await.expect("it runs").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("Coverage") && said.contains("Fuzzing"), "it asked for nothing:\n{said}");
}
