//! A running nfrx process: started with arguments, watched by its output, killed at the
//! end of the test whatever happens.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use http::StatusCode;
use nfrx_testkit::http::{HttpClient, get};

/// Longer than anything takes on a busy machine; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    child: Child,
    output: Arc<Output>,
}

/// What a process holds of the machine's memory, in bytes.
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) highest: u64,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// A nfrx process without the settings of whoever runs the tests.
pub(crate) fn nfrx(args: &[&str], settings: &[(&str, &str)]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nfrx"));
    command.env_clear().envs(settings.iter().copied()).args(args);
    Process::start(command)
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't start {command:?}: {error}"));
        let output = Arc::new(Output::default());
        output.keep(child.stdout.take().expect("it is piped"));
        output.keep(child.stderr.take().expect("it is piped"));
        Self { child, output }
    }

    /// Waits for a line that contains `text`, and gives it.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_for_count(text, 1)
    }

    /// Waits until `count` lines contain `text`, and gives the last of them. Blocks: its
    /// test needs a runtime with threads of its own.
    #[track_caller]
    pub(crate) fn wait_for_count(&self, text: &str, count: usize) -> String {
        let lines = self.output.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let too_few =
            |lines: &mut Vec<String>| lines.iter().filter(|line| line.contains(text)).count() < count;
        let (lines, timeout) = self
            .output
            .grown
            .wait_timeout_while(lines, PATIENCE, too_few)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "not {count} lines have `{text}`; it said:\n{}", lines.join("\n"));
        lines.iter().rfind(|line| line.contains(text)).cloned().unwrap_or_default()
    }

    /// Everything it said so far.
    pub(crate) fn said(&self) -> String {
        self.output.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Its resident memory in bytes, now and at its highest, as Linux tells it.
    pub(crate) fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process is there");
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
        };
        Memory { now: kib("VmRSS:") * 1024, highest: kib("VmHWM:") * 1024 }
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "the process is gone already");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
    }

    /// The same for a process that has more to do.
    #[track_caller]
    pub(crate) fn wait_within(&mut self, patience: Duration) -> ExitStatus {
        // The output ends with the process, so waiting for it is bounded by the drop of
        // the test's own deadline; a process that never ends is killed by it.
        let (done, id) = (Arc::new((Mutex::new(false), Condvar::new())), self.child.id());
        let watch = Arc::clone(&done);
        let watchdog = thread::spawn(move || {
            let ended = watch.0.lock().unwrap_or_else(PoisonError::into_inner);
            let result = watch.1.wait_timeout_while(ended, patience, |ended| !*ended);
            let timed_out = result.is_ok_and(|(_, timeout)| timeout.timed_out());
            if timed_out {
                let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            }
            timed_out
        });
        let status = self.child.wait().expect("it is our child");
        *done.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        done.1.notify_all();
        let killed = watchdog.join().unwrap_or(true);
        assert!(!killed, "it did not end by itself; it said:\n{}", self.said());
        status
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn keep(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                output.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                output.grown.notify_all();
            }
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address that was free a moment ago, for a process that must be told one.
pub(crate) fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound")
}

/// The value of a series that a server serves at `/metrics`, its labels included.
pub(crate) async fn metric(client: &mut HttpClient, series: &str) -> u64 {
    let answer = client.ask(get("/metrics", None)).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.text();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no `{series}`"))
}
