//! What the server runs on: complete and typed, made from options in one step.

mod network;
mod specs;
mod traces;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use nfrx_runtime::options::Loaded;
use nfrx_spi::{BuildInfo, OptionError, PluginOptions, Secret, parse_duration};

pub use network::Network;
pub use specs::{DEAD_KEYS, core_specs};
pub use traces::{Sampling, TracesConfig};

/// Everything the server runs on.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where clients and agents connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A listener of its own for `/metrics`; `None` serves it on the main port.
    pub metrics: Option<SocketAddr>,
    /// Which of the plugins at hand are built.
    pub plugins: PluginChoice,
    /// Each plugin's own options by plugin id.
    pub plugin_options: BTreeMap<String, PluginOptions>,
    /// Who may come in.
    pub login: LoginConfig,
    /// Which names and origins are ours.
    pub origin: OriginConfig,
    /// How long a worker may be silent about a request; zero for no limit.
    pub request_timeout: Duration,
    /// How long a drain may take; `None` for as long as it takes.
    pub drain_timeout: Option<Duration>,
    /// The bounds of the front door.
    pub limits: Limits,
    /// The folder for what must outlive the process; `None` for none.
    pub state_dir: Option<PathBuf>,
    /// Where traces go; `None` for no traces.
    pub traces: Option<TracesConfig>,
    /// The server's own options as they were given, to be shown; nothing is read from here.
    pub own_options: PluginOptions,
    /// What was built.
    pub build: BuildInfo,
}

/// Which plugins are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginChoice {
    /// All that the binary has.
    All,
    /// These ids; one that the binary doesn't have only warns.
    Named(Vec<String>),
}

/// Who may come in.
#[derive(Debug, Clone, Default)]
pub struct LoginConfig {
    /// The side of clients.
    pub api: SideConfig,
    /// The side of agents.
    pub workers: SideConfig,
    /// Lets its holder drain, disconnect and cancel.
    pub admin_key: Option<Secret>,
    /// A side without key and roles serves everybody, not only this machine
    /// (decision 17).
    pub insecure_open: bool,
    /// Peers whose `X-User-Roles` and `X-Forwarded-For` count.
    pub trusted_proxies: Vec<Network>,
}

/// The login of one side.
#[derive(Debug, Clone, Default)]
pub struct SideConfig {
    /// One key without a name.
    pub key: Option<Secret>,
    /// A file of named keys, reloaded when it changes.
    pub keys_file: Option<PathBuf>,
    /// Roles in `X-User-Roles` that let a caller in.
    pub roles: Vec<String>,
}

/// Which names and origins are ours (decision 19).
#[derive(Debug, Clone, Default)]
pub struct OriginConfig {
    /// Where people reach this server, such as `https://relay.example.org`.
    pub public_url: Option<String>,
    /// The names in `Host` that are served; empty for all. Loopback names always are.
    pub allowed_hosts: Vec<String>,
    /// Origins of other sites whose scripts may call the API; empty for none.
    pub allowed_origins: Vec<String>,
}

/// The bounds of the front door (reliability, §2 of the bounds). Each that is hit is
/// counted in `nfrx_server_refused_total`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; never more than 80 % of the process's file limit.
    pub connections_max: usize,
    /// Connections at once from one address; this machine itself may have all.
    pub connections_per_address_max: usize,
    /// Connections that agents keep at once with one named key.
    pub tunnels_per_key_max: usize,
    /// Bytes of a request's head, its first line aside.
    pub head_bytes_max: usize,
    /// Bytes of path and query.
    pub uri_bytes_max: usize,
    /// How long a head may take from its first byte.
    pub head_time_max: Duration,
    /// How long a request's body may be silent.
    pub body_silence_max: Duration,
    /// How long a client may take nothing while there is something for it.
    pub write_stall_max: Duration,
    /// How long a connection may be without a request; at most twice this.
    pub idle_max: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_address_max: 256,
            tunnels_per_key_max: 64,
            head_bytes_max: 32 * 1024,
            uri_bytes_max: 8 * 1024,
            head_time_max: Duration::from_secs(10),
            body_silence_max: Duration::from_secs(30),
            write_stall_max: Duration::from_secs(30),
            idle_max: Duration::from_secs(75),
            streams_max: 100,
        }
    }
}

impl ServerConfig {
    /// A server for this machine only, on a free port, without keys: for tests and for
    /// `up`.
    pub fn local() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            metrics: None,
            plugins: PluginChoice::All,
            plugin_options: BTreeMap::new(),
            login: LoginConfig::default(),
            origin: OriginConfig::default(),
            request_timeout: Duration::from_secs(120),
            drain_timeout: Some(Duration::from_secs(300)),
            limits: Limits::default(),
            state_dir: None,
            traces: None,
            own_options: PluginOptions::default(),
            build: nfrx_runtime::build_info(),
        }
    }

    /// The configuration that these options say: the server's own are in `group`,
    /// declared by [`core_specs`]; each of `plugins` is a group of its own. Logs a
    /// warning about settings that have no effect yet.
    pub fn from_options(loaded: &Loaded, group: &str, plugins: &[&str]) -> Result<Self, OptionError> {
        let options = loaded.group(group);
        let listen = specs::listen(&options)?;
        if !options.text("redis_addr").is_empty() {
            tracing::warn!("REDIS_ADDR has no effect: there is nothing to share yet");
        }
        Ok(Self {
            listen,
            metrics: specs::metrics(&options, listen)?,
            plugins: specs::plugins(&options),
            plugin_options: plugins.iter().map(|id| ((*id).to_owned(), loaded.group(id))).collect(),
            login: LoginConfig {
                api: side(&options, "api_key", "api_keys_file", "api_http_roles"),
                workers: side(&options, "client_key", "client_keys_file", "client_http_roles"),
                admin_key: secret(&options, "admin_key"),
                insecure_open: options.flag("insecure_open")?,
                trusted_proxies: specs::networks(&options, "trusted_proxies")?,
            },
            origin: OriginConfig {
                public_url: specs::public_url(&options)?,
                allowed_hosts: specs::list(&options, "allowed_hosts"),
                allowed_origins: specs::list(&options, "allowed_origins"),
            },
            request_timeout: options.duration("request_timeout")?,
            drain_timeout: parse_duration(options.text("drain_timeout")),
            limits: Limits {
                connections_max: specs::at_least_one(&options, "connections_max")?,
                connections_per_address_max: specs::at_least_one(&options, "connections_per_address_max")?,
                tunnels_per_key_max: specs::at_least_one(&options, "tunnels_per_key_max")?,
                ..Limits::default()
            },
            state_dir: None,
            build: nfrx_runtime::build_info(),
            traces: traces::read(&options)?,
            own_options: options,
        })
    }
}

impl SideConfig {
    /// Whether nothing was set: the side then serves this machine only.
    pub fn is_unset(&self) -> bool {
        self.key.is_none() && self.keys_file.is_none() && self.roles.is_empty()
    }
}

fn side(options: &PluginOptions, key: &str, file: &str, roles: &str) -> SideConfig {
    let file = options.text(file);
    SideConfig {
        key: secret(options, key),
        keys_file: (!file.is_empty()).then(|| PathBuf::from(file)),
        roles: specs::list(options, roles),
    }
}

/// A key is used without the white space around it (HTTP contract §1.4).
fn secret(options: &PluginOptions, id: &str) -> Option<Secret> {
    let text = options.text(id).trim();
    (!text.is_empty()).then(|| Secret::new(text))
}

#[cfg(test)]
mod tests;
