//! The server's own options, and how their texts become typed values.

use std::net::SocketAddr;

use nfrx_runtime::address::{ANY_HOST, LISTEN_FORMS, listen_address};
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions};

use super::{Network, PluginChoice};

/// Keys of old sample files that nothing reads (KD-58), or that nothing reads yet.
pub const DEAD_KEYS: &[&str] = &[
    "configfile",
    "log_dir",
    "logdir",
    "max_parallel_embeddings",
    "jobs_sse_close_delay",
    "jobs_client_ttl",
];

/// The server's own options (configuration contract §2.2, decisions 17–21).
pub fn core_specs() -> Vec<ArgSpec> {
    let text = |id, description| ArgSpec::new(id, ArgType::String, description);
    let mut specs = vec![
        text("config_file", "the YAML file with settings").from("--config", "CONFIG_FILE", ""),
        text("log_level", "all, debug, info, warn, error or none")
            .from("--log-level", "LOG_LEVEL", "log_level")
            .aliases(&["loglevel"])
            .default("info"),
        text("listen_addr", "where to listen: host:port, :port, a port or a host")
            .from("--listen-addr", "LISTEN_ADDR", "listen_addr")
            .example("127.0.0.1:8080"),
        ArgSpec::new("port", ArgType::Int, "the port, on all interfaces unless LISTEN_ADDR names one")
            .from("--port", "PORT", "port")
            .default("8080"),
        text("metrics_port", "a listener of its own for /metrics; by default the main port")
            .from("--metrics-port", "METRICS_PORT", "metrics_addr")
            .aliases(&["metricsaddr"])
            .example("127.0.0.1:9090"),
        text("plugins", "ids of the plugins to build, comma separated; * for all")
            .from("--plugins", "PLUGINS", "plugins")
            .default("*"),
        ArgSpec::new("request_timeout", ArgType::Duration, "how long a worker may be silent; 0 = no limit")
            .from("--request-timeout", "REQUEST_TIMEOUT", "request_timeout")
            .aliases(&["requesttimeout"])
            .default("120s"),
        ArgSpec::new(
            "drain_timeout",
            ArgType::Duration,
            "how long a drain may take; -1 = no limit, 0 = at once",
        )
        .from("--drain-timeout", "DRAIN_TIMEOUT", "drain_timeout")
        .aliases(&["draintimeout"])
        .default("5m"),
    ];
    specs.extend(login_specs());
    specs.extend(bound_specs());
    specs.extend(super::traces::specs());
    specs
}

fn login_specs() -> Vec<ArgSpec> {
    let text = |id, description| ArgSpec::new(id, ArgType::String, description);
    vec![
        text("api_key", "the key of clients")
            .from("--api-key", "API_KEY", "api_key")
            .aliases(&["apikey"])
            .secret(),
        text("api_keys_file", "a file of named keys of clients")
            .from("--api-keys-file", "API_KEYS_FILE", "api_keys_file")
            .example("/etc/nfrx/api-keys.yaml"),
        text("api_http_roles", "roles in X-User-Roles that let a client in").from(
            "--api-http-roles",
            "API_HTTP_ROLES",
            "api_http_roles",
        ),
        text("client_key", "the key of agents")
            .from("--client-key", "CLIENT_KEY", "client_key")
            .aliases(&["clientkey"])
            .secret(),
        text("client_keys_file", "a file of named keys of agents")
            .from("--client-keys-file", "CLIENT_KEYS_FILE", "client_keys_file")
            .example("/etc/nfrx/client-keys.yaml"),
        text("client_http_roles", "roles in X-User-Roles that let an agent in").from(
            "--client-http-roles",
            "CLIENT_HTTP_ROLES",
            "client_http_roles",
        ),
        text("admin_key", "the key for actions such as drain and disconnect")
            .from("--admin-key", "ADMIN_KEY", "admin_key")
            .secret(),
        text("trusted_proxies", "addresses or networks whose X-User-Roles and X-Forwarded-For count")
            .from("--trusted-proxies", "TRUSTED_PROXIES", "trusted_proxies")
            .example("127.0.0.1,10.0.0.0/8"),
        text("public_url", "where people reach this server")
            .from("--public-url", "PUBLIC_URL", "public_url")
            .example("https://relay.example.org"),
        text("allowed_hosts", "names in Host that are served; by default all")
            .from("--allowed-hosts", "ALLOWED_HOSTS", "allowed_hosts")
            .example("relay.example.org"),
        text("allowed_origins", "origins of other sites whose scripts may call the API")
            .from("--allowed-origins", "ALLOWED_ORIGINS", "allowed_origins")
            .aliases(&["allowedorigins"])
            .example("https://*.example.org"),
        ArgSpec::new(
            "insecure_open",
            ArgType::Bool,
            "serve everybody where no key is set, not only this machine",
        )
        .from("--insecure-open", "INSECURE_OPEN", "insecure_open")
        .default("false"),
    ]
}

fn bound_specs() -> Vec<ArgSpec> {
    vec![
        ArgSpec::new("connections_max", ArgType::Int, "connections at once")
            .from("--connections-max", "CONNECTIONS_MAX", "connections_max")
            .default("20000"),
        ArgSpec::new("connections_per_address_max", ArgType::Int, "connections at once from one address")
            .from(
                "--connections-per-address-max",
                "CONNECTIONS_PER_ADDRESS_MAX",
                "connections_per_address_max",
            )
            .default("256"),
        ArgSpec::new("tunnels_per_key_max", ArgType::Int, "tunnels at once of agents that share a named key")
            .from("--tunnels-per-key-max", "TUNNELS_PER_KEY_MAX", "tunnels_per_key_max")
            .default("64"),
        ArgSpec::new("redis_addr", ArgType::String, "accepted for old set-ups; nothing is shared yet")
            .from("--redis-addr", "REDIS_ADDR", "redis_addr")
            .aliases(&["redisaddr"])
            .secret(),
    ]
}

/// Where to listen: `LISTEN_ADDR`, with `PORT` where it names none.
pub(super) fn listen(options: &PluginOptions) -> Result<SocketAddr, OptionError> {
    let port = options.int("port")?;
    let port = u16::try_from(port).map_err(|_| wrong("port", "a port from 0 to 65535", &port.to_string()))?;
    address(options, "listen_addr", port).map(|found| found.unwrap_or((ANY_HOST, port).into()))
}

/// Where metrics are served, unless it is the main port: resolved last, so that `PORT`
/// alone moves both (KD-55).
pub(super) fn metrics(options: &PluginOptions, main: SocketAddr) -> Result<Option<SocketAddr>, OptionError> {
    let found = address(options, "metrics_port", main.port())?;
    let same = |addr: &SocketAddr| {
        addr.port() == main.port()
            && (addr.ip() == main.ip() || addr.ip().is_unspecified() || main.ip().is_unspecified())
    };
    Ok(found.filter(|addr| !same(addr)))
}

/// An address in any form (KD-54); `None` when not set.
fn address(options: &PluginOptions, id: &str, port: u16) -> Result<Option<SocketAddr>, OptionError> {
    let text = options.text(id).trim();
    if text.is_empty() {
        return Ok(None);
    }
    let found = listen_address(text, ANY_HOST, port);
    found.map(Some).ok_or_else(|| wrong(id, LISTEN_FORMS, text))
}

pub(super) fn plugins(options: &PluginOptions) -> PluginChoice {
    let ids = list(options, "plugins");
    if ids == ["*"] { PluginChoice::All } else { PluginChoice::Named(ids) }
}

/// The items of a comma separated list, trimmed, without the empty ones.
pub(super) fn list(options: &PluginOptions, id: &str) -> Vec<String> {
    let items = options.text(id).split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

pub(super) fn networks(options: &PluginOptions, id: &str) -> Result<Vec<Network>, OptionError> {
    let parse = |text: &String| text.parse().map_err(|()| wrong(id, "addresses or networks", text));
    list(options, id).iter().map(parse).collect()
}

pub(super) fn public_url(options: &PluginOptions) -> Result<Option<String>, OptionError> {
    let text = options.text("public_url").trim().trim_end_matches('/');
    if text.is_empty() {
        return Ok(None);
    }
    let uri = text.parse::<http::Uri>().ok();
    let fits =
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if fits { Ok(Some(text.to_owned())) } else { Err(wrong("public_url", "an http or https URL", text)) }
}

pub(super) fn at_least_one(options: &PluginOptions, id: &str) -> Result<usize, OptionError> {
    let value = options.int(id)?;
    usize::try_from(value)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| wrong(id, "at least 1", &value.to_string()))
}

fn wrong(id: &str, expected: &str, found: &str) -> OptionError {
    OptionError { option: id.to_owned(), expected: format!("must be {expected}"), found: found.to_owned() }
}
