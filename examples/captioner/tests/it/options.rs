//! Options: declared once, refused by name, secret where they say so.

use std::path::Path;

use clap::{ArgMatches, Command};
use nfrx_captioner::CaptionerFactory;
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_server::Server;
use nfrx_spi::PluginFactory;
use nfrx_testkit::http::get;
use nfrx_testkit::relay::API_KEY;

use crate::world::{config, relay};

fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add("captioner", CaptionerFactory.descriptor().args);
    catalogue
}

fn flags(line: &[&str]) -> ArgMatches {
    let command = Command::new("server").no_binary_name(true).args(catalogue().args());
    command.try_get_matches_from(line).expect("these flags exist")
}

fn load(file: &Path, line: &[&str], env: &[(&str, &str)]) -> Result<Loaded, String> {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    catalogue().load(file, &env, &flags(line)).map_err(|error| error.to_string())
}

#[test]
fn a_value_of_the_wrong_type_is_refused_by_the_name_it_came_by() {
    let none = Path::new("no-such-file.yaml");
    let error = load(none, &["--pictures-max", "lots"], &[]).expect_err("no number");
    assert!(error.contains("--pictures-max") && error.contains("lots"), "{error}");
    let error = load(none, &[], &[("CAPTIONER_CAPTION_TIMEOUT", "soon")]).expect_err("no duration");
    assert!(error.contains("CAPTIONER_CAPTION_TIMEOUT") && error.contains("soon"), "{error}");
    let loaded = load(none, &["--queue-size", "7"], &[("CAPTIONER_QUEUE_SIZE", "9")]).expect("valid");
    assert_eq!(loaded.group("captioner").int("queue_size"), Ok(7), "a flag wins");
}

#[test]
fn an_unknown_key_of_the_file_is_refused_by_its_name() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("captioner-unknown-key.yaml");
    std::fs::write(&file, "plugin_options:\n  captioner:\n    picture_max: 3\n").expect("a folder for tests");
    let error = load(&file, &[], &[]).expect_err("no such key");
    assert!(error.contains("plugin_options.captioner.picture_max"), "{error}");
    assert!(error.contains("did you mean `plugin_options.captioner.pictures_max`"), "{error}");
}

#[tokio::test]
async fn a_value_that_makes_no_sense_stops_the_start_and_is_named() {
    for (id, value) in [
        ("pictures_max", "0"),
        ("picture_bytes_max", "-1"),
        ("parallel_max", "65"),
        ("queue_size", "-1"),
        ("default_style", " "),
    ] {
        let started = Server::in_memory(config(&[(id, value)]), vec![Box::new(CaptionerFactory)]);
        let error = anyhow::Error::from(started.err().expect("refused"));
        let text = format!("{error:#}");
        // Seen to fail: when the value is clamped instead.
        assert!(text.contains(&format!("`plugin_options.captioner.{id}`")), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_secret_is_shown_nowhere() {
    let relay = relay(&[("batch_key", "hunter2")]);
    for path in ["/api/captioner", "/api/state", "/api/state/descriptors", "/metrics"] {
        let answer = relay.ask(get(path, Some(API_KEY))).await;
        assert_eq!(answer.status(), 200, "{path}");
        // Seen to fail: without `secret` in the option's declaration.
        assert!(!answer.text().contains("hunter2"), "{path}: {}", answer.text());
    }
    let root = relay.ask(get("/api/captioner", Some(API_KEY))).await.text();
    assert!(root.contains("batch_key") && root.contains("caption_timeout"), "{root}");
}
