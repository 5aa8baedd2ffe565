use nfrx_runtime::options::Catalogue;

use super::*;

fn config(env: &[(&str, &str)]) -> Result<ServerConfig, String> {
    let mut catalogue = Catalogue::new();
    catalogue.add("server", core_specs());
    let flags = clap_free(&catalogue);
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let loaded = catalogue.load("/nowhere/server.yaml".as_ref(), &env, &flags).map_err(|e| e.to_string())?;
    ServerConfig::from_options(&loaded, "server", &[]).map_err(|e| e.to_string())
}

/// No flags at all.
fn clap_free(catalogue: &Catalogue) -> clap::ArgMatches {
    clap::Command::new("nfrx")
        .no_binary_name(true)
        .args(catalogue.args())
        .get_matches_from(Vec::<String>::new())
}

/// Listening and metrics address as text.
#[track_caller]
fn check(env: &[(&str, &str)], listen: &str, metrics: &str) {
    let config = config(env).expect("valid settings");
    let found = config.metrics.map_or_else(String::new, |addr| addr.to_string());
    assert_eq!((config.listen.to_string().as_str(), found.as_str()), (listen, metrics));
}

#[test]
fn addresses_are_read_in_every_form_and_metrics_follow_the_main_port() {
    check(&[], "0.0.0.0:8080", "");
    check(&[("PORT", "18080")], "0.0.0.0:18080", "");
    check(&[("LISTEN_ADDR", "9000")], "0.0.0.0:9000", "");
    check(&[("LISTEN_ADDR", ":9000"), ("METRICS_PORT", "9000")], "0.0.0.0:9000", "");
    check(&[("LISTEN_ADDR", "127.0.0.1"), ("PORT", "1")], "127.0.0.1:1", "");
    check(&[("LISTEN_ADDR", "[::1]:5"), ("METRICS_PORT", ":6")], "[::1]:5", "0.0.0.0:6");
    check(&[("METRICS_PORT", "127.0.0.1:9090")], "0.0.0.0:8080", "127.0.0.1:9090");
}

#[test]
fn drain_may_be_unlimited_and_request_timeout_counts_seconds() {
    let grace = |text| config(&[("DRAIN_TIMEOUT", text)]).expect("valid").drain_timeout;
    assert_eq!((grace("-1"), grace("-1s")), (None, None));
    assert_eq!((grace("0"), grace("90s")), (Some(Duration::ZERO), Some(Duration::from_secs(90))));
    let config = config(&[("REQUEST_TIMEOUT", "2.5")]).expect("valid");
    assert_eq!(config.request_timeout, Duration::from_millis(2500));
}

#[test]
fn what_makes_no_sense_stops_the_start() {
    let wrong = [
        ("PORT", "70000", "a port from 0 to 65535"),
        ("LISTEN_ADDR", "a b c", "`host:port`"),
        ("TRUSTED_PROXIES", "10.0.0.0/64", "networks"),
        ("PUBLIC_URL", "relay.example.org", "URL"),
        ("CONNECTIONS_MAX", "0", "at least 1"),
        ("REQUEST_TIMEOUT", "-5", "a duration"),
        ("INSECURE_OPEN", "perhaps", "`true` or `false`"),
    ];
    for (name, value, expected) in wrong {
        let error = config(&[(name, value)]).expect_err("it makes no sense");
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn keys_are_trimmed_and_never_shown() {
    let config = config(&[("API_KEY", "  hunter2 "), ("PLUGINS", "llm, ,mcp")]).expect("valid");
    assert_eq!(config.login.api.key.as_ref().map(Secret::reveal), Some("hunter2"));
    assert_eq!(config.plugins, PluginChoice::Named(vec!["llm".into(), "mcp".into()]));
    assert!(!format!("{config:?}").contains("hunter2"));
}
