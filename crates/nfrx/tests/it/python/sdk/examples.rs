//! The SDKs' examples, a program for each role, against the real server.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SDK, succeeds};
use crate::process::{Process, free_addr, nfrx};

const API_KEY: &str = "api-key-for-tests";
const CLIENT_KEY: &str = "client-key-for-tests";

/// The examples of one SDK, a server, and a folder that goes with it.
pub(super) struct Stand {
    interpreter: String,
    examples: PathBuf,
    suffix: &'static str,
    url: String,
    folder: PathBuf,
    _server: Process,
}

impl Stand {
    pub(super) fn start(language: &str, suffix: &'static str, interpreter: String) -> Self {
        let addr = free_addr().to_string();
        let folder = std::env::temp_dir().join(format!("nfrx-{language}-examples-{}", std::process::id()));
        let state = folder.join("state");
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let settings = [
            ("API_KEY", API_KEY),
            ("CLIENT_KEY", CLIENT_KEY),
            ("LISTEN_ADDR", &*addr),
            ("NFRX_STATE_DIR", state.to_str().expect("a plain path")),
        ];
        let server = nfrx(&["server"], &settings);
        server.wait_for("ready");
        std::fs::write(folder.join("hello.txt"), "hello").expect("it is ours");
        let examples = Path::new(SDK).join(language).join("examples");
        let url = format!("http://{addr}");
        Self { interpreter, examples, suffix, url, folder, _server: server }
    }

    fn example(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.arg(self.examples.join(format!("{name}{}", self.suffix))).arg(&self.url).args(args);
        command.current_dir(&self.folder).env("NFRX_API_KEY", API_KEY).env("NFRX_CLIENT_KEY", CLIENT_KEY);
        command.env("PYTHONPATH", Path::new(SDK).join("python/src")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Runs an example to its end and gives what it printed.
    #[track_caller]
    fn run(&self, name: &str, args: &[&str]) -> String {
        succeeds(&mut self.example(name, args)).trim().to_owned()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Every role once. Seen to fail: with a payload posted in place of put.
    pub(super) fn every_role_plays(&self) {
        let mut worker = Process::start(self.example("worker", &["shout", "2"]));
        self.run("client", &["shout", "hello.txt", "loud.txt"]);
        assert_eq!(self.read("loud.txt"), "HELLO");
        let job = self.run("kept", &["leave", "shout", "hello.txt"]);
        self.run("kept", &["fetch", &job, "later.txt"]);
        assert_eq!(self.read("later.txt"), "HELLO");
        assert!(worker.wait().success(), "{}", worker.said());

        let mut sender = Process::start(self.example("transfer", &["send", "hello.txt"]));
        let channel = sender.wait_for("-");
        self.run("transfer", &["receive", channel.trim(), "passed.txt"]);
        assert_eq!(self.read("passed.txt"), "hello");
        assert!(sender.wait().success(), "{}", sender.said());

        let sealed = Process::start(self.example("sealed_worker", &["secret"]));
        let key = sealed.wait_for("my key:");
        let key = key.rsplit(' ').next().expect("a key");
        assert!(self.run("sealed_client", &["secret", "hello.txt", key]).ends_with("HELLO"));
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
