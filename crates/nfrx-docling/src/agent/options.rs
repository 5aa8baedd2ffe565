//! The options of an agent that fronts a document converter (configuration contract §4.3).

use nfrx_agent::{BackendKey, BaseUrl, agent_specs, backend_base, backend_key};
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions};

/// What such an agent runs on besides the common options, checked.
#[derive(Debug, Clone)]
pub struct DoclingConfig {
    /// The converter's address, without a version.
    pub base: BaseUrl,
    /// The converter's key, if it wants one.
    pub key: Option<BackendKey>,
}

/// The options of such an agent, the common ones first.
pub fn docling_agent_specs() -> Vec<ArgSpec> {
    let mut specs = agent_specs("ws://localhost:8080/api/docling/connect");
    specs.extend([
        ArgSpec::new("doc_base_url", ArgType::String, "address of the document converter, without /v1")
            .from("--doc-base-url", "DOC_BASE_URL", "doc_base_url")
            .aliases(&["baseurl"])
            .default("http://127.0.0.1:5001"),
        ArgSpec::new("doc_api_key", ArgType::String, "key that the document converter wants")
            .from("--doc-api-key", "DOC_API_KEY", "doc_api_key")
            .aliases(&["apikey"])
            .secret(),
    ]);
    specs
}

impl DoclingConfig {
    /// Reads the options of [`docling_agent_specs`] that are not common to all agents.
    pub fn from_options(options: &PluginOptions) -> Result<Self, OptionError> {
        let (base, key) = (backend_base(options, "doc_base_url")?, backend_key(options, "doc_api_key")?);
        Ok(Self { base, key })
    }
}
