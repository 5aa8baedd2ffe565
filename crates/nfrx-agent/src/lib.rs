//! What agents share, whatever kind of service they front: the HTTP client towards the
//! backend and the proxy over it, the probe loop, the host's load, the status, and the
//! run from the first probe to the last drained request.
//!
//! An agent of a kind (such as `nfrx_llm::agent`) adds how its backend is probed, which
//! paths may pass, and its own options.

mod agent;
mod backend_key;
mod base_url;
pub mod client;
mod config;
mod hold;
mod host;
mod jobs;
mod local;
mod probe;
mod proxy;
mod question;
mod status;

pub use agent::{Agent, AgentError, AgentParts, ServiceParts, StartService};
pub use backend_key::{BackendKey, BackendKeyError};
pub use base_url::{BaseUrl, BaseUrlError};
pub use config::{AGENT_DEAD_KEYS, AgentConfig, agent_specs, backend_base, backend_key, option_error};
pub use host::{HostMonitor, host_facts};
pub use jobs::{JobGuard, counted};
pub use local::{ListenError, LocalConfig};
pub use probe::{Backend, Found, ProbeError, Prober};
pub use proxy::{AllowList, BackendProxy, Ceiling, ProxyParts, is_plain_path};
pub use question::Question;
pub use status::{AgentState, AgentStatus, StatusBoard};
