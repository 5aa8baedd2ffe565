//! The options of an agent that fronts a speech recogniser (configuration contract §4.3).

use nfrx_agent::{BackendKey, BaseUrl, agent_specs, backend_base, backend_key};
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions};

/// What such an agent runs on besides the common options, checked.
#[derive(Debug, Clone)]
pub struct AsrConfig {
    /// The recogniser's OpenAI-compatible address.
    pub base: BaseUrl,
    /// The recogniser's key, if it wants one.
    pub key: Option<BackendKey>,
}

/// The options of such an agent, the common ones first.
pub fn asr_agent_specs() -> Vec<ArgSpec> {
    let mut specs = agent_specs("ws://localhost:8080/api/asr/connect");
    specs.extend([
        ArgSpec::new("asr_base_url", ArgType::String, "OpenAI-compatible address of the speech recogniser")
            .from("--asr-base-url", "ASR_BASE_URL", "asr_base_url")
            .aliases(&["baseurl"])
            .default("http://127.0.0.1:5002/v1"),
        ArgSpec::new("asr_api_key", ArgType::String, "key that the speech recogniser wants")
            .from("--asr-api-key", "ASR_API_KEY", "asr_api_key")
            .aliases(&["apikey"])
            .secret(),
    ]);
    specs
}

impl AsrConfig {
    /// Reads the options of [`asr_agent_specs`] that are not common to all agents.
    pub fn from_options(options: &PluginOptions) -> Result<Self, OptionError> {
        let (base, key) = (backend_base(options, "asr_base_url")?, backend_key(options, "asr_api_key")?);
        Ok(Self { base, key })
    }
}
