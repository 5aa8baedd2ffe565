//! The options that all agents share (configuration contract §4.2).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nfrx_runtime::address::{ANY_HOST, LISTEN_FORMS, THIS_HOST, listen_address};
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions, Secret, parse_duration};

use crate::{BackendKey, BaseUrl, LocalConfig, host_facts};

/// No tunnel carries more streams than that at once.
const CONCURRENCY_MAX: u32 = 256;

/// Keys of old sample files that nothing reads (KD-58).
pub const AGENT_DEAD_KEYS: &[&str] = &["configfile", "log_dir", "logdir"];

/// What an agent runs on, checked.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Where the server takes tunnels: a `ws`, `wss`, `http` or `https` address.
    pub server_url: String,
    /// The key that the server wants.
    pub client_key: Option<Secret>,
    /// The id to register with; the same for the whole life of the process.
    pub worker_id: String,
    /// The name for people.
    pub worker_name: String,
    /// Requests at the backend at once, 1 to 256.
    pub max_concurrency: u32,
    /// How long a backend may be silent; `None` for ever.
    pub request_timeout: Option<Duration>,
    /// How long running requests may take to end after a stop; `None` for ever.
    pub drain_timeout: Option<Duration>,
    /// Whether a lost server is dialed again.
    pub reconnect: bool,
    /// What is served on the agent's own machine.
    pub local: LocalConfig,
}

/// The options of every agent; `server_url` is the default address of its kind.
///
/// `CONFIG_FILE` and `LOG_LEVEL` are read by the command line, before an agent is built.
pub fn agent_specs(server_url: &'static str) -> Vec<ArgSpec> {
    use ArgType::{Bool, Duration, Int, String};
    vec![
        ArgSpec::new("config_file", String, "YAML file with options")
            .from("--config", "CONFIG_FILE", "")
            .example("/etc/nfrx/worker.yaml"),
        ArgSpec::new("log_level", String, "all, trace, debug, info, warn, error, fatal or none")
            .from("--log-level", "LOG_LEVEL", "log_level")
            .aliases(&["loglevel"])
            .default("info"),
        ArgSpec::new("server_url", String, "where the server takes tunnels: ws, wss, http or https")
            .from("--server-url", "SERVER_URL", "server_url")
            .aliases(&["serverurl"])
            .default(server_url)
            .example("wss://relay.example/api/llm/connect"),
        ArgSpec::new("client_key", String, "key that the server wants of its agents")
            .from("--client-key", "CLIENT_KEY", "client_key")
            .aliases(&["clientkey"])
            .secret(),
        ArgSpec::new("client_id", String, "id to register with; random for each process when empty")
            .from("--client-id", "CLIENT_ID", "client_id")
            .aliases(&["clientid"])
            .example("den-1"),
        ArgSpec::new("client_name", String, "name for people; the host's name when empty")
            .from("--client-name", "CLIENT_NAME", "client_name")
            .aliases(&["clientname"])
            .example("den"),
        ArgSpec::new("max_concurrency", Int, "requests at the backend at once, 1 to 256")
            .from("--max-concurrency", "MAX_CONCURRENCY", "max_concurrency")
            .aliases(&["maxconcurrency"])
            .default("2"),
        ArgSpec::new(
            "request_timeout",
            Duration,
            "longest silence of the backend within a request; 0 for no limit",
        )
        .from("--request-timeout", "REQUEST_TIMEOUT", "request_timeout")
        .aliases(&["requesttimeout"])
        .default("300s"),
        // Text, because a negative number is no duration but means something here.
        ArgSpec::new(
            "drain_timeout",
            String,
            "longest wait for running requests at a stop; negative for no limit",
        )
        .from("--drain-timeout", "DRAIN_TIMEOUT", "drain_timeout")
        .aliases(&["draintimeout"])
        .default("1m"),
        ArgSpec::new(
            "status_addr",
            String,
            "where to serve status and control; on this machine unless a host is named",
        )
        .from("--status-addr", "STATUS_ADDR", "status_addr")
        .aliases(&["statusaddr"])
        .example("127.0.0.1:4555"),
        ArgSpec::new(
            "metrics_port",
            String,
            "where to serve /metrics, to private networks: host:port, :port or a port",
        )
        .from("--metrics-port", "METRICS_PORT", "metrics_addr")
        .aliases(&["metricsaddr"])
        .example("127.0.0.1:9090"),
        ArgSpec::new("reconnect", Bool, "dial again when the server is lost or away")
            .from("--reconnect", "RECONNECT", "reconnect")
            .aliases(&["-r"])
            .default("false"),
    ]
}

impl AgentConfig {
    /// Reads the options of [`agent_specs`].
    pub fn from_options(options: &PluginOptions) -> Result<Self, OptionError> {
        Self::of_kind("worker", options)
    }

    /// The same; an agent without a name, on a host without one, is called `kind` and a
    /// random number (configuration contract §4.3).
    pub fn of_kind(kind: &str, options: &PluginOptions) -> Result<Self, OptionError> {
        let text = |id| Some(options.text(id).trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let request_timeout = options.duration("request_timeout")?;
        Ok(Self {
            server_url: text("server_url")
                .ok_or_else(|| option_error(options, "server_url", "an address"))?,
            client_key: text("client_key").map(Secret::new),
            worker_id: text("client_id").unwrap_or_else(|| format!("{:016x}", fastrand::u64(..))),
            worker_name: text("client_name").unwrap_or_else(|| host_name(kind)),
            max_concurrency: max_concurrency(options)?,
            request_timeout: (!request_timeout.is_zero()).then_some(request_timeout),
            drain_timeout: drain_timeout(options)?,
            reconnect: options.flag("reconnect")?,
            local: LocalConfig {
                status: listen(options, "status_addr", THIS_HOST)?,
                metrics: listen(options, "metrics_port", ANY_HOST)?,
                token_files: Vec::new(),
            },
        })
    }
}

/// Where to listen, if anywhere; a port alone is one of `host`.
fn listen(options: &PluginOptions, id: &str, host: IpAddr) -> Result<Option<SocketAddr>, OptionError> {
    match options.text(id).trim() {
        "" => Ok(None),
        text => {
            listen_address(text, host, 0).map(Some).ok_or_else(|| option_error(options, id, LISTEN_FORMS))
        }
    }
}

fn max_concurrency(options: &PluginOptions) -> Result<u32, OptionError> {
    let count = u32::try_from(options.int("max_concurrency")?).ok();
    count
        .filter(|count| (1..=CONCURRENCY_MAX).contains(count))
        .ok_or_else(|| option_error(options, "max_concurrency", "a number from 1 to 256"))
}

/// A negative time is no limit (KD-57).
fn drain_timeout(options: &PluginOptions) -> Result<Option<Duration>, OptionError> {
    let text = options.text("drain_timeout").trim();
    let span = match text.strip_prefix('-') {
        Some(span) => parse_duration(span).map(|_| None),
        None => parse_duration(text).map(Some),
    };
    span.ok_or_else(|| {
        option_error(options, "drain_timeout", "a duration such as `30s`, or `-1` for no limit")
    })
}

/// The backend's address in the option `id`.
pub fn backend_base(options: &PluginOptions, id: &str) -> Result<BaseUrl, OptionError> {
    BaseUrl::parse(options.text(id).trim())
        .map_err(|_| option_error(options, id, "a plain http:// or https:// address"))
}

/// The backend's key in the option `id`, if there is one.
pub fn backend_key(options: &PluginOptions, id: &str) -> Result<Option<BackendKey>, OptionError> {
    let text = Some(options.text(id).trim()).filter(|text| !text.is_empty());
    let key = text.map(|text| BackendKey::new(&Secret::new(text))).transpose();
    key.map_err(|error| option_error(options, id, &error.to_string()))
}

/// An error about an option whose value has the right type and still makes no sense.
pub fn option_error(options: &PluginOptions, id: &str, expected: &str) -> OptionError {
    let spec = options.specs().iter().find(|spec| spec.id == id);
    let secret = spec.is_some_and(|spec| spec.secret);
    OptionError {
        option: spec.map_or(id, |spec| if spec.env.is_empty() { id } else { spec.env }).to_owned(),
        expected: format!("must be {expected}"),
        found: if secret { "***".to_owned() } else { options.text(id).to_owned() },
    }
}

fn host_name(kind: &str) -> String {
    let random = || format!("{kind}-{:08x}", fastrand::u32(..));
    host_facts().remove("hostname").unwrap_or_else(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "ws://localhost:8080/api/llm/connect";

    fn read(values: &[(&str, &str)]) -> Result<AgentConfig, OptionError> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        AgentConfig::from_options(&PluginOptions::new(agent_specs(URL), values.collect()))
    }

    #[test]
    fn without_any_value_the_contracts_defaults_hold() {
        let config = read(&[]).expect("defaults are valid");
        assert_eq!((config.server_url.as_str(), config.max_concurrency), (URL, 2));
        assert_eq!(config.request_timeout, Some(Duration::from_secs(300)));
        assert_eq!(config.drain_timeout, Some(Duration::from_secs(60)));
        assert!(!config.reconnect && config.client_key.is_none());
        assert!(!config.worker_name.is_empty());
        let another = read(&[]).expect("defaults are valid");
        assert_ne!(config.worker_id, another.worker_id, "two agents never share a made-up id");
    }

    #[test]
    fn status_is_for_this_machine_unless_a_host_is_named() {
        let local = |id, text| read(&[(id, text)]).expect("valid").local;
        let status = |text| local("status_addr", text).status.map(|addr| addr.to_string());
        assert_eq!(status("4555").as_deref(), Some("127.0.0.1:4555"));
        assert_eq!(status(":4555").as_deref(), Some("127.0.0.1:4555"));
        assert_eq!(status("0.0.0.0:4555").as_deref(), Some("0.0.0.0:4555"));
        assert_eq!(status(""), None);
        let metrics = local("metrics_port", "9090").metrics.map(|addr| addr.to_string());
        assert_eq!(metrics.as_deref(), Some("0.0.0.0:9090"));
    }

    #[test]
    fn zero_and_negative_times_mean_no_limit() {
        assert_eq!(read(&[("request_timeout", "0")]).expect("valid").request_timeout, None);
        for unlimited in ["-1", "-1s"] {
            assert_eq!(read(&[("drain_timeout", unlimited)]).expect("valid").drain_timeout, None);
        }
        assert_eq!(read(&[("drain_timeout", "0")]).expect("valid").drain_timeout, Some(Duration::ZERO));
    }

    #[test]
    fn a_value_that_makes_no_sense_is_named_with_what_would_do() {
        for (id, value) in [
            ("max_concurrency", "0"),
            ("max_concurrency", "257"),
            ("drain_timeout", "soon"),
            ("status_addr", "a b"),
        ] {
            let error = read(&[(id, value)]).expect_err("refused").to_string();
            assert!(error.contains(&id.to_ascii_uppercase()) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        let config = read(&[("client_key", "hunter2")]).expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
