//! The server: listeners, login, limits, the plugin host, the state API and the page.
//!
//! [`Server::bind`] builds the plugins, compiles their routes and opens the ports;
//! [`Server::serve`] serves until it is told to stop and returns when everything is
//! closed. A request passes the front door (`front`: id, limits), the list of routes
//! (`routes`), the gate (`gate`: who may) and then its plugin's handler. Nothing here
//! knows which plugins exist.

mod config;
mod door;
mod error;
mod front;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod host;
mod key_list;
mod routes;
mod server;
mod system;
mod telemetry;
mod traces;

pub use config::{
    DEAD_KEYS, Limits, LoginConfig, Network, OriginConfig, PluginChoice, Sampling, ServerConfig, SideConfig,
    TracesConfig, core_specs,
};
pub use door::Door;
pub use error::StartError;
pub use key_list::{KeyList, KeyListError, NamedKey};
pub use server::Server;
