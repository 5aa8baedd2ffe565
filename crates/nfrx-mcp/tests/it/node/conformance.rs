//! The protocol's conformance suite against the fixture, directly and through the relay: no
//! check may come out differently, in either era.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use super::clients::everything;
use crate::stand::{Backend, Stand, fixture, from_xtask, output};

/// How often each check of a scenario came out how.
type Checks = BTreeMap<String, usize>;

/// What the suite found at `url`, by scenario; it is content with all.
async fn judged(url: &str, revision: &str, way: &str) -> BTreeMap<String, Checks> {
    let (is_content, said, found) = found(url, revision, way).await;
    assert!(is_content, "the suite is not content with {url}:\n{said}");
    found
}

/// Whether the suite is content, what it said, and what it found by scenario.
async fn found(url: &str, revision: &str, way: &str) -> (bool, String, BTreeMap<String, Checks>) {
    let folder = format!("conformance-{revision}-{way}-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let mut command = Command::new(from_xtask("NFRX_NODE"));
    let suite = Path::new(&from_xtask("NFRX_NODE_MODULES")).join("@modelcontextprotocol/conformance");
    command.arg(suite.join("dist/index.js")).args(["server", "--url", url, "--requirements", revision]);
    let ran = output({
        command.arg("--output-dir").arg(&folder);
        command
    })
    .await;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let found = std::fs::read_dir(&folder).expect("the suite wrote it").map(|entry| {
        let path = entry.expect("it can be read").path();
        (scenario(&path), checks(&path.join("checks.json")))
    });
    let found = found.collect();
    std::fs::remove_dir_all(&folder).expect("it is ours");
    (ran.status.success(), said, found)
}

/// The scenario's name: `server-NAME-TIMESTAMP` is the folder's.
fn scenario(folder: &Path) -> String {
    let name = folder.file_name().expect("a folder").to_string_lossy().into_owned();
    let (name, _) = name.split_once("-20").unwrap_or((&name, ""));
    name.to_owned()
}

fn checks(file: &PathBuf) -> Checks {
    let text = std::fs::read(file).expect("each scenario has its checks");
    let checks: Vec<Value> = serde_json::from_slice(&text).expect("a list");
    let mut counted = Checks::new();
    for check in checks {
        *counted.entry(format!("{} {}", check["id"], check["status"])).or_default() += 1;
    }
    counted
}

/// Runs both ways at once, before a fixture each: what one triggers, another would hear.
async fn check(revision: &str, scenarios: usize) {
    let other = Backend::fixture().await;
    compare(&Stand::before(other.url()).await, revision, "relayed", scenarios).await;
}

/// The same with a fixture that the agent starts and speaks to over stdio.
async fn check_stdio(revision: &str, scenarios: usize) {
    let stand = Stand::over(&format!("{} stdio", fixture().display())).await;
    compare(&stand, revision, "stdio", scenarios).await;
}

async fn compare(stand: &Stand, revision: &str, way: &str, scenarios: usize) {
    let fixture = Backend::fixture().await;
    let (by_itself, url) = (format!("direct-{way}"), stand.url());
    let (direct, relayed) =
        tokio::join!(judged(fixture.url(), revision, &by_itself), judged(&url, revision, way));
    assert_eq!(direct.len(), scenarios, "the suite asks for so many: {:?}", direct.keys());
    let failed = |checks: &&Checks| checks.keys().any(|check| check.ends_with("\"FAILURE\""));
    assert_eq!(direct.values().find(failed), None, "the fixture passes all");
    for (scenario, checks) in &direct {
        assert_eq!(relayed.get(scenario), Some(checks), "{scenario} differs");
    }
    assert_eq!(direct.len(), relayed.len());
}

// Seen to fail: with the session's header taken out of answers.
#[tokio::test]
async fn the_suite_of_2025_11_25_finds_no_difference() {
    check("2025-11-25", 33).await;
}

// Seen to fail: with `Mcp-Method` not passed to the server.
#[tokio::test]
async fn the_suite_of_2026_07_28_finds_no_difference() {
    check("2026-07-28", 50).await;
}

#[tokio::test]
async fn over_stdio_the_suite_of_2025_11_25_finds_no_difference() {
    check_stdio("2025-11-25", 33).await;
}

#[tokio::test]
async fn over_stdio_the_suite_of_2026_07_28_finds_no_difference() {
    check_stdio("2026-07-28", 50).await;
}

/// The reference server is no fixture of the suite, which is content with less than half of it:
/// what counts is that it is with the same.
///
/// Seen to fail: with pages of other hosts let in.
#[tokio::test]
async fn a_server_of_others_is_judged_as_it_is_directly() {
    let revision = "2025-11-25";
    let servers = [everything("streamableHttp", "/mcp").await, everything("streamableHttp", "/mcp").await];
    let stand = Stand::before(servers[1].url()).await;
    let url = stand.url();
    let ((_, said, direct), (_, _, relayed)) = tokio::join!(
        found(servers[0].url(), revision, "everything-direct"),
        found(&url, revision, "everything-relayed"),
    );
    assert_eq!(direct.len(), 33, "{said}");
    // The one difference is for the better (decision 27): the server believes any `Host`, the
    // relay judges it.
    let better = |checks: &Checks| {
        let renamed = checks.iter().map(|(check, count)| {
            let (id, result) = check.split_once(' ').expect("two words");
            let result =
                if id.contains("localhost-host-rebinding-rejected") { "\"SUCCESS\"" } else { result };
            (format!("{id} {result}"), *count)
        });
        renamed.collect::<Checks>()
    };
    let mut improved = 0;
    for (scenario, checks) in &direct {
        assert_eq!(relayed.get(scenario), Some(&better(checks)), "{scenario} differs");
        improved += usize::from(better(checks) != *checks);
    }
    assert_eq!((improved, direct.len()), (1, relayed.len()));
}
