//! `nfrx jobs`: any program as a worker, files in and results out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, free_addr, nfrx};

const API_KEY: &str = "api-key-for-tests";
const CLIENT_KEY: &str = "client-key-for-tests";

/// A server, and a folder that goes with it.
struct Stand {
    url: String,
    folder: PathBuf,
    _server: Process,
}

impl Stand {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("nfrx-jobs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let addr = free_addr().to_string();
        let state = folder.join("state");
        let server = nfrx(
            &["server"],
            &[
                ("API_KEY", API_KEY),
                ("CLIENT_KEY", CLIENT_KEY),
                ("LISTEN_ADDR", &addr),
                ("NFRX_STATE_DIR", state.to_str().expect("a plain path")),
            ],
        );
        server.wait_for(r#""message":"ready""#);
        Self { url: format!("http://{addr}"), folder, _server: server }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nfrx"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("NFRX_URL", &self.url).env("API_KEY", API_KEY).env("CLIENT_KEY", CLIENT_KEY);
        command.current_dir(&self.folder).arg("jobs").args(args);
        command
    }

    /// A worker whose program is this line of a shell.
    fn worker(&self, args: &[&str], script: &str) -> Process {
        let all = [&["work"], args, &["--", "sh", "-c", script]].concat();
        let worker = Process::start(self.command(&all));
        worker.wait_for("waiting for jobs");
        worker
    }

    /// Runs to its end: its status, and what it wrote.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(args).stdin(Stdio::null()).output().expect("it is our own program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).expect("it is ours");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// All jobs, newest first.
    fn jobs(&self) -> Vec<Value> {
        let (status, listed, said) = self.run(&["list", "--json"]);
        assert_eq!(status, Some(0), "{said}");
        listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Waits until the newest job is as `reached` wants it.
    fn until(&self, mut reached: impl FnMut(&Value) -> bool) -> Value {
        for _ in 0..600 {
            if let Some(job) = self.jobs().into_iter().next().filter(&mut reached) {
                return job;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never: {:?}", self.jobs());
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether a process still does something.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn until_gone(pids: &[String]) {
    for _ in 0..600 {
        if !pids.iter().any(|pid| runs(pid)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{pids:?} still run");
}

/// A program that tells its own id and that of what it started, and never ends.
const NEVER: &str = r#"sleep 1000 & echo "pids $$ $!" >&2; wait"#;

/// The ids that it told.
fn pids(job: &Value) -> Option<Vec<String>> {
    let line = job["progress"]["log"][0].as_str()?.strip_prefix("pids ")?;
    Some(line.split(' ').map(str::to_owned).collect())
}

#[test]
fn a_line_of_shell_is_a_worker() {
    let stand = Stand::start("line");
    let script = r#"test -z "$CLIENT_KEY$API_KEY" || exit 9
        echo "does $NFRX_JOB_TYPE with $NFRX_JOB_METADATA" >&2; echo 40 >&3; echo '{"stage":"last"}' >&3; tr a-z A-Z"#;
    let worker = stand.worker(&["--type", "shout"], script);
    stand.write("hello.txt", "hello\n");
    let (status, out, said) =
        stand.run(&["submit", "--type", "shout", "--metadata", r#"{"a":1}"#, "hello.txt"]);
    assert_eq!((status, out.as_str()), (Some(0), "HELLO\n"), "{said}");
    let job = stand.until(|_| true);
    let progress = &job["progress"];
    assert_eq!((&progress["percent"], &progress["stage"]), (&40.into(), &"last".into()), "{job}");
    assert_eq!(progress["log"][0], r#"does shout with {"a":1}"#);
    let (status, watched, _) = stand.run(&["watch", job["id"].as_str().expect("an id")]);
    assert_eq!(status, Some(0));
    assert!(watched.contains("does shout with") && watched.contains("completed at"), "{watched}");
    // Told to stop it ends, for nothing runs.
    let mut worker = worker;
    worker.signal("TERM");
    assert_eq!(worker.wait().code(), Some(0));
}

#[test]
fn a_failure_is_told_with_the_last_words() {
    let stand = Stand::start("failure");
    let _worker = stand.worker(&[], "cat >/dev/null; echo 'no licence' >&2; exit 3");
    stand.write("in", "x");
    let (status, out, said) = stand.run(&["submit", "--type", "a", "in"]);
    // Seen to fail: with a result sent whatever the program's status.
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(said.contains("exit status: 3") && said.contains("no licence"), "{said}");
    let job = stand.until(|_| true);
    assert_eq!((&job["status"], &job["error"]["code"]), (&"failed".into(), &"exit_status".into()));
}

#[test]
fn a_canceled_job_leaves_no_process() {
    let stand = Stand::start("cancel");
    let _worker = stand.worker(&["--lease", "1"], NEVER);
    stand.write("in", "x");
    let _submit = Process::start(stand.command(&["submit", "--type", "a", "in"]));
    let job = stand.until(|job| pids(job).is_some());
    let pids = pids(&job).expect("it is there");
    assert!(pids.iter().all(|pid| runs(pid)), "{pids:?}");
    let (status, out, _) = stand.run(&["cancel", job["id"].as_str().expect("an id")]);
    assert_eq!((status, out.trim_end().ends_with("canceled")), (Some(0), true), "{out}");
    // Seen to fail: with only the program itself killed.
    until_gone(&pids);
}

#[test]
fn a_worker_that_slept_through_its_lease_can_not_overwrite_its_successor() {
    let stand = Stand::start("late");
    let first = stand.worker(&["--lease", "1", "--worker-id", "first"], NEVER);
    stand.write("in", "x");
    let mut submit = Process::start(stand.command(&["submit", "--type", "a", "-o", "out", "in"]));
    let job = stand.until(|job| pids(job).is_some());
    first.signal("STOP");
    let _second = stand.worker(&["--worker-id", "second"], "cat");
    let done = stand.until(|job| job["status"] == "completed");
    assert_eq!((&done["attempt"], &done["claimed_worker_id"]), (&2.into(), &"second".into()));
    first.signal("CONT");
    first.wait_for("is not ours any more");
    until_gone(&pids(&job).expect("it is there"));
    assert!(submit.wait().success());
    assert_eq!(stand.read("out"), "x");
    assert_eq!(stand.jobs()[0]["claimed_worker_id"], "second");
}

#[test]
fn what_was_begun_goes_on_where_it_stopped() {
    let stand = Stand::start("resume");
    let names = ["a.txt", "b.txt", "c.txt"];
    names.iter().for_each(|name| stand.write(name, name));
    let submit = [&["submit", "--type", "copy", "-o", "out"], &names[..]].concat();
    let mut first = Process::start(stand.command(&submit));
    // All are stored; nobody does them.
    let stored = |jobs: &[Value]| jobs.iter().filter(|job| job.get("stored_payloads").is_some()).count();
    while stored(&stand.jobs()) < names.len() {
        std::thread::sleep(Duration::from_millis(50));
    }
    first.kill();
    let worker = stand.worker(&["--slots", "2"], "cat; echo !");
    let (status, _, said) = stand.run(&submit);
    assert_eq!(status, Some(0), "{said}");
    // Seen to fail: without the key under which a job is made once.
    assert_eq!(stand.jobs().len(), names.len(), "no job was made twice");
    for name in names {
        assert_eq!(stand.read(&format!("out/{name}.out")), format!("{name}!\n"));
    }
    let manifest: Value = serde_json::from_str(&stand.read("out/nfrx-jobs.json")).expect("JSON");
    assert!(
        manifest
            .as_array()
            .is_some_and(|all| all.len() == 3 && all.iter().all(|one| one["status"] == "completed"))
    );
    // Done is done: nobody is asked again.
    drop(worker);
    assert_eq!(stand.run(&submit).0, Some(0));
}

#[test]
fn a_worker_is_paused_and_goes_on_by_signals() {
    let stand = Stand::start("pause");
    let worker = stand.worker(&[], "cat");
    worker.signal("USR1");
    worker.wait_for(r#""taking":false"#);
    stand.write("in", "x");
    let mut submit = Process::start(stand.command(&["submit", "--type", "a", "in"]));
    stand.until(|job| job.get("stored_payloads").is_some());
    // A claim that was on its way has been taken back.
    assert_eq!(stand.jobs()[0]["status"], "queued");
    worker.signal("USR2");
    assert!(submit.wait().success());
}

#[test]
fn a_stopping_worker_gives_back_what_it_can_not_end() {
    let stand = Stand::start("drain");
    let mut worker = stand.worker(&["--drain-timeout", "1"], NEVER);
    stand.write("in", "x");
    let _submit = Process::start(stand.command(&["submit", "--type", "a", "in"]));
    let job = stand.until(|job| pids(job).is_some());
    worker.signal("TERM");
    assert_eq!(worker.wait().code(), Some(0));
    // Long before the lease is over. Seen to fail: with its tasks dropped without a word.
    let again = stand.until(|job| job["status"] == "queued");
    assert_eq!(again["attempt"], 1);
    until_gone(&pids(&job).expect("it is there"));
}
