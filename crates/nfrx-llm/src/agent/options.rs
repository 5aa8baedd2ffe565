//! The options of an agent that fronts an LLM runtime (configuration contract §4.2).

use std::time::Duration;

use nfrx_agent::{BackendKey, BaseUrl, agent_specs, backend_base, backend_key, option_error};
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions};

use super::ApiStyle;

/// The poll interval when none makes sense.
const POLL_INTERVAL: Duration = Duration::from_secs(20);

/// What an LLM agent runs on besides the common options, checked.
#[derive(Debug, Clone)]
pub struct LlmConfig {
    /// The runtime's OpenAI-compatible address.
    pub base: BaseUrl,
    /// The runtime's key, if it wants one.
    pub key: Option<BackendKey>,
    /// How the runtime lists its models.
    pub style: ApiStyle,
    /// What to say of the runtime's version instead of asking it.
    pub version: Option<String>,
    /// How many inputs of an embeddings request it likes at once; 0 says nothing.
    pub embedding_batch_size: u32,
    /// The time between a good probe and the next.
    pub poll_interval: Duration,
}

/// The options of an LLM agent, the common ones first.
pub fn llm_agent_specs() -> Vec<ArgSpec> {
    use ArgType::{Duration, Int, String};
    let mut specs = agent_specs("ws://localhost:8080/api/llm/connect");
    specs.extend([
        ArgSpec::new("completion_base_url", String, "OpenAI-compatible address of the LLM runtime")
            .from("--completion-base-url", "COMPLETION_BASE_URL", "completion_base_url")
            .aliases(&["completionbaseurl"])
            .default("http://127.0.0.1:11434/v1"),
        ArgSpec::new("completion_api_key", String, "key that the LLM runtime wants")
            .from("--completion-api-key", "COMPLETION_API_KEY", "completion_api_key")
            .aliases(&["OLLAMA_API_KEY", "completionapikey"])
            .secret(),
        ArgSpec::new("completion_agent_version", String, "version of the LLM runtime, instead of asking it")
            .from("--completion-agent-version", "COMPLETION_AGENT_VERSION", "completion_agent_version")
            .aliases(&["completionagentversion"])
            .example("llama.cpp b6700"),
        ArgSpec::new("api_style", String, "how models are listed: openai or ollama")
            .from("--api-style", "API_STYLE", "api_style")
            .aliases(&["apistyle"])
            .default("openai"),
        ArgSpec::new(
            "embedding_batch_size",
            Int,
            "inputs of an embeddings request taken at once; 0 says nothing",
        )
        .from("--embedding-batch-size", "EMBEDDING_BATCH_SIZE", "embedding_batch_size")
        .aliases(&["embeddingbatchsize"])
        .default("0"),
        ArgSpec::new("model_poll_interval", Duration, "time between two looks at the list of models")
            .from("--model-poll-interval", "MODEL_POLL_INTERVAL", "model_poll_interval")
            .aliases(&["modelpollinterval"])
            .default("1m"),
    ]);
    specs
}

impl LlmConfig {
    /// Reads the options of [`llm_agent_specs`] that are not common to all agents.
    pub fn from_options(options: &PluginOptions) -> Result<Self, OptionError> {
        let batch = u32::try_from(options.int("embedding_batch_size")?)
            .map_err(|_| option_error(options, "embedding_batch_size", "a number that is not negative"))?;
        let interval = options.duration("model_poll_interval")?;
        Ok(Self {
            base: backend_base(options, "completion_base_url")?,
            key: backend_key(options, "completion_api_key")?,
            style: ApiStyle::parse(options.text("api_style")),
            version: text(options, "completion_agent_version").map(str::to_owned),
            embedding_batch_size: batch,
            poll_interval: if interval.is_zero() { POLL_INTERVAL } else { interval },
        })
    }
}

fn text<'a>(options: &'a PluginOptions, id: &str) -> Option<&'a str> {
    Some(options.text(id).trim()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<LlmConfig, OptionError> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        LlmConfig::from_options(&PluginOptions::new(llm_agent_specs(), values.collect()))
    }

    #[test]
    fn without_any_value_ollama_on_this_machine_is_fronted() {
        let config = read(&[]).expect("defaults are valid");
        assert_eq!(config.base.to_string(), "http://127.0.0.1:11434/v1");
        assert_eq!(config.poll_interval, Duration::from_secs(60));
        assert!(config.key.is_none() && config.version.is_none());
    }

    #[test]
    fn a_key_that_no_header_can_carry_stops_the_start_and_is_not_shown() {
        assert!(read(&[("completion_api_key", "c")]).expect("valid").key.is_some());
        let error = read(&[("completion_api_key", "line\nbreak")]).expect_err("no header").to_string();
        assert!(error.contains("COMPLETION_API_KEY") && !error.contains("break"), "{error}");
    }

    #[test]
    fn an_address_that_is_none_stops_the_start() {
        let error = read(&[("completion_base_url", "localhost:11434")]).expect_err("refused").to_string();
        assert!(error.contains("COMPLETION_BASE_URL") && error.contains("localhost:11434"), "{error}");
    }

    #[test]
    fn every_option_has_one_place_in_each_source() {
        let specs = llm_agent_specs();
        let sources: [fn(&ArgSpec) -> &'static str; 4] =
            [|spec| spec.flag, |spec| spec.env, |spec| spec.yaml, |spec| spec.id];
        for source in sources {
            let mut names: Vec<_> = specs.iter().map(source).filter(|name| !name.is_empty()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }
}
