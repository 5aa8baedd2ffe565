//! Settings as an operator meets them: checked before a start, keys made and revoked,
//! programs under their old names.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nfrx_testkit::http::{HttpClient, get};

use crate::process::{free_addr, nfrx};

/// A folder that is gone at the end of its test.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nfrx-settings-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary folder can be written");
        Self(dir)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the temporary folder can be written");
        path.display().to_string()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs to the end; its code, what it said on stdout and on stderr.
pub(crate) fn run(
    program: impl AsRef<Path>,
    args: &[&str],
    settings: &[(&str, &str)],
) -> (i32, String, String) {
    let mut command = Command::new(program.as_ref());
    command.env_clear().envs(settings.iter().copied()).args(args);
    let Output { status, stdout, stderr } = command.output().expect("it can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

pub(crate) const NFRX: &str = env!("CARGO_BIN_EXE_nfrx");

#[test]
fn valid_settings_are_said_to_be_and_nothing_starts() {
    let (code, out, _) = run(NFRX, &["check-config", "--port", "1"], &[]);
    assert_eq!((code, out.as_str()), (0, "the settings of `nfrx server` are valid\n"));
    for agent in ["llm", "asr", "docling", "mcp"] {
        let (code, out, err) = run(NFRX, &["check-config", agent], &[("CLIENT_KEY", "hunter2")]);
        assert_eq!((code, out), (0, format!("the settings of `nfrx {agent}` are valid\n")), "{err}");
    }
}

#[test]
fn settings_that_would_stop_a_start_are_told_before() {
    let dir = TempDir::new("check");
    let typo = dir.write("typo.yaml", "api_kee: hunter2\n");
    let keys = dir.write("keys.yaml", "- name: a\n  sha256: short\n");
    let wrong = [
        (vec!["check-config", "--config", &typo], vec![], "unknown key `api_kee`, did you mean `api_key`?"),
        (vec!["check-config"], vec![("API_KEYS_FILE", keys.as_str())], "sha256 of `a` must be 64"),
        (vec!["check-config"], vec![("LLM_QUEUE_SIZE", "lots")], "LLM_QUEUE_SIZE"),
        (vec!["check-config", "llm"], vec![("SERVER_URL", "relay.example.org")], "relay.example.org"),
        (vec!["check-config", "asr"], vec![("ASR_BASE_URL", "ftp://h/v1")], "ASR_BASE_URL"),
        (vec!["check-config", "docling", "--max-concurrency", "0"], vec![], "MAX_CONCURRENCY"),
    ];
    for (args, settings, expected) in wrong {
        let (code, out, err) = run(NFRX, &args, &settings);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?} {settings:?}: {err}");
        assert!(err.contains(expected) && !err.contains("hunter2"), "`{err}` should contain `{expected}`");
    }
}

#[test]
fn a_command_line_that_is_no_such_thing_ends_with_two() {
    for args in [&["--prot", "1"][..], &["check-config", "keys"], &["keys", "add"], &["keys", "forget", "x"]]
    {
        let (code, out, err) = run(NFRX, args, &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains("Usage") || err.contains("error:"), "{err}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_under_an_old_name_is_the_old_program() {
    let dir = TempDir::new("names");
    for agent in ["llm", "asr", "docling", "mcp"] {
        let link = dir.0.join(format!("nfrx-{agent}"));
        std::os::unix::fs::symlink(NFRX, &link).expect("the temporary folder takes links");
        let (code, out, _) = run(&link, &["--version"], &[]);
        assert!(code == 0 && out.starts_with(&format!("nfrx-{agent} version=")), "{out}");
        let (code, out, _) = run(&link, &["check-config", "-reconnect"], &[]);
        assert_eq!((code, out), (0, format!("the settings of `nfrx {agent}` are valid\n")));
    }
}

#[test]
fn plugins_and_their_options_are_told_on_stdout() {
    let (code, out, err) = run(NFRX, &["--help-plugins"], &[]);
    assert_eq!(code, 0);
    let at = |text: &str| out.find(text).unwrap_or_else(|| panic!("`{text}` is missing in {out}"));
    assert!(out.starts_with("\nExtensions:\n"));
    assert!(
        at("  - ASR (asr)") < at("  - Docling (docling)") && at("(docling)") < at("  - LLM Gateway (llm)")
    );
    assert!(at("env: LLM_QUEUE_SIZE") < at("(mcp)"));
    assert!(err.contains("--api-key"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_once_it_is_added_and_no_longer_once_it_is_revoked() {
    let dir = TempDir::new("keys");
    let file = dir.write("keys.yaml", "");
    let settings = [("API_KEYS_FILE", file.as_str())];
    let addr = free_addr();
    let addr_text = addr.to_string();
    let server = nfrx(&["server"], &[("API_KEYS_FILE", &file), ("LISTEN_ADDR", &addr_text)]);
    server.wait_for("ready");

    let (code, key, err) = run(NFRX, &["keys", "add", "ops", "--services", "llm,asr"], &settings);
    assert_eq!(code, 0, "{err}");
    let key = key.trim().to_owned();
    let held = std::fs::read_to_string(&file).expect("it was written");
    assert!(key.len() > 32 && !held.contains(&key) && !err.contains(&key), "the key is told once: {held}");
    let (_, listed, _) = run(NFRX, &["keys", "list"], &settings);
    assert!(listed.contains("ops\tllm,asr\tall\tall\tno\t") && !listed.contains(&key), "{listed}");

    server.wait_for_count("keys reloaded", 1);
    let status = async |key: &str| {
        let mut client = HttpClient::connect(addr).await.expect("the server listens");
        client.send(get("/api/state", Some(key))).await.expect("an answer").status().as_u16()
    };
    assert_eq!((status(&key).await, status("another").await), (200, 401));

    let (code, _, err) = run(NFRX, &["keys", "add", "ops"], &settings);
    assert!(code == 1 && err.contains("`ops` is there already"), "{err}");
    assert_eq!(run(NFRX, &["keys", "revoke", "ops"], &settings).0, 0);
    server.wait_for_count("keys reloaded", 2);
    assert_eq!(status(&key).await, 401);
    let (code, _, err) = run(NFRX, &["keys", "revoke", "ops", "--file", &file], &[]);
    assert!(code == 1 && err.contains("no key is called `ops`"), "{err}");
}

#[test]
fn keys_without_a_file_ask_for_one() {
    let (code, _, err) = run(NFRX, &["keys", "list", "--agents"], &[]);
    assert!(code == 1 && err.contains("--file") && err.contains("CLIENT_KEYS_FILE"), "{err}");
}
