//! The page of bounds, against what the binary serves and declares.

use std::collections::BTreeSet;
use std::process::Command;

use nfrx_server::ServerConfig;
use nfrx_testkit::http::{HttpClient, get};

use crate::process::{Process, free_addr, metric, nfrx};

const PAGE: &str = include_str!("../../../../docs/book/limits.md");
const OPTIONS: &str = include_str!("../../../../docs/options.md");

/// Families of which each series is a bound.
const FAMILIES: [&str; 4] = [
    "nfrx_server_refused_total",
    "nfrx_queue_refused_total{ext=\"llm\"",
    "nfrx_asr_spool_refused_total",
    "nfrx_jobs_refused_total",
];

/// What stands in backticks in a cell.
fn code(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
}

/// The rows of the page: what, bound, option, answer, metric; some have no option.
fn rows() -> Vec<Vec<&'static str>> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

fn server() -> (std::net::SocketAddr, Process) {
    let addr = free_addr();
    let state =
        [("LISTEN_ADDR", &*addr.to_string()), ("JOBS_STORE", "memory")].map(|(n, v)| (n, v.to_owned()));
    let settings: Vec<_> = state.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = nfrx(&["server"], &settings);
    server.wait_for("ready");
    (addr, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_bounds_names_what_is_served_and_nothing_else() {
    let (addr, _server) = server();
    let mut client = HttpClient::connect(addr).await.expect("it listens");
    let metrics = client.ask(get("/metrics", None)).await.expect("metrics").text();
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let served: BTreeSet<_> = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    let named: BTreeSet<_> = rows().iter().filter_map(|row| code(row.last()?)).collect();
    // Seen to fail: with a reason that the page has not, and with a series of another name.
    assert_eq!(named.difference(&served).collect::<Vec<_>>(), Vec::<&&str>::new(), "named, not served");
    let bounds = served.iter().filter(|series| FAMILIES.iter().any(|family| series.starts_with(family)));
    let forgotten: Vec<_> = bounds.filter(|series| !named.contains(*series)).collect();
    assert_eq!(forgotten, Vec::<&&str>::new(), "served, not named");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_all_the_files_that_it_may_have() {
    let addr = free_addr();
    let mut shell = Command::new("sh");
    // Fewer than a shell gives by default, of more that may be had.
    shell.args(["-c", "ulimit -Sn 300 && ulimit -Hn 900 && exec \"$NFRX\" server"]);
    shell.env_clear().env("NFRX", env!("CARGO_BIN_EXE_nfrx")).env("LISTEN_ADDR", addr.to_string());
    let server = Process::start(shell);
    server.wait_for("ready");
    let mut client = HttpClient::connect(addr).await.expect("it listens");
    // Seen to fail: without raising the limit.
    assert_eq!(metric(&mut client, "process_max_fds").await, 900);
}

#[test]
fn the_page_of_bounds_tells_the_defaults() {
    let mut options = 0;
    for row in rows().iter().filter(|row| row.len() == 5) {
        let Some(option) = code(row[2]) else { continue };
        let line = OPTIONS.lines().find(|line| line.contains(&format!("`{option}`")));
        let line = line.unwrap_or_else(|| panic!("no option {option}"));
        if let Some(default) = code(row[1]) {
            options += 1;
            // Seen to fail: with another default.
            assert!(line.contains(&format!("| `{default}` |")), "{option} is not {default}: {line}");
        }
    }
    assert_eq!(options, 11, "rows with a default");
    let workers = rows().into_iter().find(|row| row[0] == "workers of one plugin").expect("a row");
    // Seen to fail: with another number.
    assert_eq!(workers[1].replace(',', ""), nfrx_pool::WORKERS_MAX.to_string());
    let limits = ServerConfig::local().limits;
    let seconds = |span: std::time::Duration| format!("{} s", span.as_secs());
    let kib = |bytes: usize| format!("{} KiB", bytes / 1024);
    for (reason, bound) in [
        ("head_time", seconds(limits.head_time_max)),
        ("head_bytes", kib(limits.head_bytes_max)),
        ("uri_bytes", kib(limits.uri_bytes_max)),
        ("body_silence", seconds(limits.body_silence_max)),
        ("write_stall", seconds(limits.write_stall_max)),
        ("http2_streams", limits.streams_max.to_string()),
    ] {
        let reason = format!("reason=\"{reason}\"");
        let row = rows().into_iter().find(|row| row.last().is_some_and(|metric| metric.contains(&reason)));
        assert_eq!(row.expect("a row")[1], bound, "{reason}");
    }
}
