//! Why a server did not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use nfrx_spi::{MetricsError, OptionError};

/// Why a server did not start. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or not ours to take.
    #[error("can't listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A plugin refuses its options.
    #[error("plugin `{plugin}` does not start")]
    Plugin {
        /// The plugin.
        plugin: &'static str,
        /// Why.
        source: OptionError,
    },
    /// A plugin's metrics clash with another's.
    #[error("plugin `{plugin}` can't register its metrics")]
    Metrics {
        /// The plugin; empty for the server itself.
        plugin: &'static str,
        /// Why.
        source: MetricsError,
    },
    /// Two plugins have the same id, or one is not lower case.
    #[error("plugin id `{id}` is taken or not lower case letters, digits, `-` and `_`")]
    PluginId {
        /// The id.
        id: &'static str,
    },
    /// A plugin and its factory say different things of it.
    #[error("plugin `{plugin}` describes itself other than its factory does")]
    PluginDescriptor {
        /// The factory's id.
        plugin: &'static str,
    },
    /// Two parts of the state have the same id.
    #[error("plugin `{plugin}` adds state `{id}`, which exists already")]
    StateId {
        /// The plugin.
        plugin: &'static str,
        /// The id.
        id: &'static str,
    },
    /// Two plugins serve the same path (decision 15).
    #[error("`{pattern}` is claimed by {first} and by {second}")]
    RouteOverlap {
        /// The later pattern.
        pattern: String,
        /// Who has it.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// A pattern that can't be compiled.
    #[error("route `{pattern}` of {plugin} can't be compiled: {problem}")]
    RoutePattern {
        /// The pattern.
        pattern: String,
        /// Whose it is.
        plugin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of keys can't be used.
    #[error("keys file {}: {problem}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without its contents.
        problem: String,
    },
}
