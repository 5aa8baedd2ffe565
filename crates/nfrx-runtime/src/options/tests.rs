use std::path::PathBuf;

use nfrx_spi::ArgType;

use super::*;

/// A file that is gone at the end of its test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nfrx-options-{}-{name}.yaml", std::process::id()));
        std::fs::write(&path, text).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue
        .add(
            "server",
            vec![
                ArgSpec::new(CONFIG_FILE, ArgType::String, "the file").from("--config", "CONFIG_FILE", ""),
                ArgSpec::new("port", ArgType::Int, "the port").from("--port", "PORT", "port").default("8080"),
                ArgSpec::new("api_key", ArgType::String, "the key")
                    .from("--api-key", "API_KEY", "api_key")
                    .aliases(&["apikey", "OLD_KEY", "--key", "-k"])
                    .secret(),
                ArgSpec::new("reconnect", ArgType::Bool, "again").from(
                    "--reconnect",
                    "RECONNECT",
                    "reconnect",
                ),
                ArgSpec::new("drain", ArgType::Duration, "grace").from(
                    "--drain-timeout",
                    "DRAIN",
                    "drain_timeout",
                ),
            ],
        )
        .add(
            "llm",
            vec![
                ArgSpec::new("queue_size", ArgType::Int, "the queue")
                    .from("--llm-queue-size", "LLM_QUEUE_SIZE", "plugin_options.llm.queue_size")
                    .default("100"),
            ],
        )
        .dead_keys(&["log_dir"]);
    catalogue
}

fn load(args: &[&str], env: &[(&str, &str)], yaml: &str) -> Result<Loaded, LoadError> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let file = TempFile::new(&COUNT.fetch_add(1, Ordering::Relaxed).to_string(), yaml);
    let catalogue = catalogue();
    let command = clap::Command::new("test").no_binary_name(true).args(catalogue.args());
    let args = catalogue.normalise(args.iter().map(|arg| (*arg).to_owned()));
    let flags = command.try_get_matches_from(args).expect("the flags exist");
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    catalogue.load(&file.0, &env, &flags)
}

/// `expected` is the value of `id`, from whatever group has it.
#[track_caller]
fn check(args: &[&str], env: &[(&str, &str)], yaml: &str, id: &str, expected: &str) {
    let loaded = load(args, env, yaml).expect("valid settings");
    let group = if id == "queue_size" { "llm" } else { "server" };
    assert_eq!(loaded.group(group).text(id), expected);
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_the_default() {
    let (yaml, env) = ("port: 1\nplugin_options:\n  llm:\n    queue_size: 7\n", [("PORT", "2")]);
    check(&[], &[], "", "port", "8080");
    check(&[], &[], yaml, "port", "1");
    check(&[], &env, yaml, "port", "2");
    // Seen to fail: with the order of `find` turned round.
    check(&["--port", "3"], &env, yaml, "port", "3");
    check(&[], &[], yaml, "queue_size", "7");
    check(&[], &[("LLM_QUEUE_SIZE", "")], yaml, "queue_size", "7");
}

#[test]
fn flags_are_read_as_go_writes_them() {
    check(&["-port=5"], &[], "", "port", "5");
    check(&["-port", "5", "--port", "6"], &[], "", "port", "6");
    check(&["--reconnect"], &[], "", "reconnect", "true");
    check(&["--reconnect=false"], &[], "", "reconnect", "false");
    check(&["--drain-timeout", "-1"], &[], "", "drain", "-1");
    check(&["-drain-timeout=-1s"], &[], "", "drain", "-1s");
}

#[test]
fn other_spellings_are_read_and_the_documented_one_wins() {
    check(&[], &[], "apikey: old\n", "api_key", "old");
    check(&[], &[], "apikey: old\napi_key: new\n", "api_key", "new");
    check(&[], &[("OLD_KEY", "env")], "", "api_key", "env");
    check(&["-k", "short"], &[], "", "api_key", "short");
    check(&[], &[], "api_key: 1234\n", "api_key", "1234");
    check(&[], &[], "api_key: [a, b]\n", "api_key", "a,b");
}

#[track_caller]
fn check_error(args: &[&str], env: &[(&str, &str)], yaml: &str, expected: &str) {
    let error = load(args, env, yaml).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains(expected), "`{error}` should contain `{expected}`");
}

#[test]
fn a_wrong_value_stops_the_start_and_names_its_place() {
    check_error(&[], &[("PORT", "abc")], "", "option `PORT`: must be a whole number, but it is `abc`");
    check_error(&["--port", "x"], &[], "", "option `--port`: must be a whole number");
    check_error(&[], &[], "port: often", "option `port in ");
    check_error(&[], &[("LLM_QUEUE_SIZE", "lots")], "", "LLM_QUEUE_SIZE");
    check_error(&[], &[("DRAIN", "5 parsecs")], "", "a duration such as `30s`");
    check_error(&[], &[], "port: {a: 1}", "must be a single value");
}

#[test]
fn an_unknown_key_stops_the_start_and_the_nearest_is_named() {
    check_error(&[], &[], "api_kee: x", "unknown key `api_kee`, did you mean `api_key`?");
    check_error(&[], &[], "zzzzzzzzzz: x", "unknown key `zzzzzzzzzz`");
    let nested = "plugin_options: {llm: {que_size: 1}}";
    check_error(&[], &[], nested, "did you mean `plugin_options.llm.queue_size`?");
    check_error(&[], &[], "plugin_options: {asr: {x: 1}}", "unknown key `plugin_options.asr`");
}

#[test]
fn a_dead_key_a_missing_file_and_a_key_by_flag_only_warn() {
    let loaded = load(&[], &[], "log_dir: /tmp\nplugin_options:\n").expect("valid settings");
    assert!(loaded.warnings[0].contains("log_dir"));
    let loaded = load(&["--config", "/nowhere/x.yaml", "--api-key", "hunter2"], &[], "").expect("valid");
    assert!(loaded.warnings[0].contains("/nowhere/x.yaml, which does not exist"));
    assert!(loaded.warnings[1].contains("set API_KEY instead"));
    assert!(!loaded.warnings.concat().contains("hunter2"));
}

#[test]
fn a_secret_is_neither_in_an_error_nor_in_debug() {
    // Seen to fail: with the parser's own message, which quotes the line.
    check_error(&[], &[], "api_key: \"hunter2\nport: [", "is not valid: not YAML at line");
    for yaml in ["api_key: \"hunter2\nport: [", "api_key: {hunter2: 1}", "api_key: 1.25"] {
        let error = load(&[], &[], yaml).expect_err("not valid").to_string();
        assert!(!error.contains("hunter2") && !error.contains("1.25"), "{error}");
    }
    let loaded = load(&[], &[("API_KEY", "hunter2")], "").expect("valid settings");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}
