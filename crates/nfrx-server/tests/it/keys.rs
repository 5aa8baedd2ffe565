//! Files of named keys: read, reloaded, and never lost to a broken edit.

use std::path::PathBuf;
use std::time::Duration;

use nfrx_server::{Server, ServerConfig};
use serde_json::json;

use crate::client::{get, post};
use crate::world::{REMOTE, World, fakes};

/// SHA-256 of `hunter2`.
const TWO: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

struct KeysFile(PathBuf);

impl KeysFile {
    fn new(name: &str, text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("nfrx-keys-{}-{name}.yaml", std::process::id())));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).expect("the temporary folder can be written");
    }
}

impl Drop for KeysFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn config(file: &KeysFile) -> ServerConfig {
    let mut config = ServerConfig::local();
    config.login.api.keys_file = Some(file.0.clone());
    config
}

#[tokio::test(start_paused = true)]
async fn a_named_key_has_its_name_and_scopes() {
    let file = KeysFile::new("scopes", &format!("- {{name: ops, sha256: {TWO}, admin: true}}\n"));
    let world = World::new(config(&file));
    let answer = world.ask(REMOTE, get("/api/fake/v1/seen/x", Some("hunter2"))).await;
    assert_eq!((&answer.json()["key"], &answer.json()["admin"]), (&json!("ops"), &json!(true)));
    let answer = world.ask(REMOTE, post("/api/fake/admin", Some("hunter2"), &json!({}))).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(world.ask(REMOTE, get("/api/fake/v1/seen/x", Some("hunter3"))).await.status(), 401);
    let state = world.ask(REMOTE, get("/api/state", Some("hunter2"))).await.json();
    assert!(state["plugins"]["fake"].is_object());
    file.write(&format!("- {{name: asr, sha256: {TWO}, services: [asr]}}\n"));
    wait_for(&world, "hunter2", 403).await;
    // A key for one service sees nothing of others.
    let state = world.ask(REMOTE, get("/api/state", Some("hunter2"))).await.json();
    // Seen to fail: when every key gets the same envelope.
    assert_eq!(
        state["plugins"].as_object().map(|parts| parts.keys().collect::<Vec<_>>()),
        Some(vec![&"server".to_owned()])
    );
    let view = world.ask(REMOTE, get("/api/state/view/fake.html", Some("hunter2"))).await;
    assert_eq!(view.status(), 204);
    file.write(&format!("- {{name: chat, sha256: {TWO}, models: [free]}}\n"));
    wait_for(&world, "hunter2", 200).await;
    // Seen to fail: without the look at the key's models.
    for (label, status) in [("free", 200), ("busy/one", 403)] {
        let ready = world.ask(REMOTE, get(&format!("/api/fake/ready/{label}"), Some("hunter2"))).await;
        assert_eq!(ready.status().as_u16(), status, "{label}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_counts_and_a_broken_one_does_not() {
    let file = KeysFile::new("reload", &format!("- {{name: a, sha256: {TWO}}}\n"));
    let world = World::new(config(&file));
    wait_for(&world, "hunter2", 200).await;
    file.write("- {name: a, sha256: broken}\n");
    tokio::time::sleep(Duration::from_secs(5)).await;
    // Seen to fail: with a broken file taken for an empty one.
    assert_eq!(world.ask(REMOTE, get("/api/fake/v1/seen/x", Some("hunter2"))).await.status(), 200);
    file.write("[]\n");
    wait_for(&world, "hunter2", 401).await;
}

/// Looks until the key is judged so; the file is looked at every two seconds.
async fn wait_for(world: &World, key: &str, status: u16) {
    for _ in 0..10 {
        let answer = world.ask(REMOTE, get("/api/fake/v1/seen/x", Some(key))).await;
        if answer.status() == status {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("the key was never judged {status}");
}

#[tokio::test(start_paused = true)]
async fn a_broken_or_missing_file_stops_the_start() {
    let file = KeysFile::new("broken", "- {name: a, sha256: hunter2}\n");
    let start = |config| Server::in_memory(config, fakes(&Default::default())).err().map(|e| e.to_string());
    let error = start(config(&file)).expect("a digest is no key");
    assert!(error.contains("64 hexadecimal digits") && !error.contains("hunter2"), "{error}");
    let mut config = ServerConfig::local();
    config.login.workers.keys_file = Some("/nowhere/keys.yaml".into());
    assert!(start(config).is_some_and(|error| error.contains("/nowhere/keys.yaml")));
}
