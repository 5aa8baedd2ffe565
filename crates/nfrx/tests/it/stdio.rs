//! What is left of the processes that an agent has started, when the agent is killed.

use std::path::Path;
use std::time::Duration;

use crate::process::nfrx;

/// Says which processes it is made of, and ignores every request to end.
const STUBBORN: &str = r#"trap "" TERM INT HUP
sleep 1000 &
echo "processes $$ $! $PPID" >&2
while read -r line; do :; done
wait"#;

/// Whether a process still does something.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn an_agent_that_is_killed_leaves_no_process() {
    let script = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stubborn.sh");
    std::fs::write(&script, STUBBORN).expect("the folder is cargo's");
    let command = format!("sh {}", script.display());
    let args = ["mcp", "--reconnect", "--server-url", "ws://127.0.0.1:9/api/mcp/connect"];
    let path = std::env::var("PATH").unwrap_or_default();
    let mut agent = nfrx(&args, &[("MCP_STDIO_COMMAND", &command), ("PATH", &path)]);
    let line = agent.wait_for("processes ");
    let (_, pids) = line.split_once("processes ").expect("it was waited for");
    let pids: Vec<_> = pids.split(|c: char| !c.is_ascii_digit()).take(3).collect();
    assert!(pids.len() == 3 && pids.iter().all(|pid| runs(pid)), "{line}");
    agent.kill();
    let mut patience = 1500;
    while pids.iter().any(|pid| runs(pid)) {
        patience -= 1;
        assert!(patience > 0, "one of {pids:?} is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}
