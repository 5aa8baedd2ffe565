//! Asking an LLM runtime whether it is there and which models it has.

use std::collections::BTreeMap;

use nfrx_agent::client::BackendClient;
use nfrx_agent::{Backend, BackendKey, BaseUrl, Found, ProbeError, Question};
use nfrx_spi::BoxFuture;
use tracing::warn;

use super::LlmConfig;
use super::version::{Version, VersionFinder};

/// How a runtime lists its models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiStyle {
    /// `GET <base>/models`, with the key.
    OpenAi,
    /// `GET <parent>/api/tags`, without a key.
    Ollama,
}

impl ApiStyle {
    /// Reads a style, in any case; an unknown one is OpenAI's, with a warning.
    pub fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "openai" | "" => Self::OpenAi,
            "ollama" => Self::Ollama,
            _ => {
                warn!(api_style = text, "unknown API_STYLE, models are listed as OpenAI does");
                Self::OpenAi
            }
        }
    }
}

/// An LLM runtime, as the probe loop asks it (worker protocol §10.1).
pub struct LlmBackend {
    client: BackendClient,
    key: Option<BackendKey>,
    style: ApiStyle,
    parent: BaseUrl,
    version: VersionFinder,
    embedding_batch_size: u32,
}

impl LlmBackend {
    /// The runtime that `client` speaks to.
    pub fn new(client: BackendClient, config: &LlmConfig) -> Self {
        Self {
            parent: client.base().parent(),
            client,
            key: config.key.clone(),
            style: config.style,
            version: VersionFinder::new(config.version.as_deref()),
            embedding_batch_size: config.embedding_batch_size,
        }
    }

    async fn ask(&self) -> Result<Found, ProbeError> {
        let models = self.models().await.inspect_err(|_| self.version.forget())?;
        let version = self.version.find(&self.client, &self.parent, self.key.as_ref()).await;
        Ok(Found { models, agent_config: self.facts(version) })
    }

    async fn models(&self) -> Result<Vec<String>, ProbeError> {
        match self.style {
            ApiStyle::OpenAi => {
                let (base, key) = (self.client.base(), self.key.as_ref());
                let question = Question { base, path: "/models", key, about: "models" };
                question.names(&self.client, "data", "id").await
            }
            ApiStyle::Ollama => {
                let question = Question { base: &self.parent, path: "/api/tags", key: None, about: "tags" };
                question.names(&self.client, "models", "name").await
            }
        }
    }

    fn facts(&self, version: Option<Version>) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        if let Some(Version { family, version }) = version {
            facts.insert("backend_family".to_owned(), family.to_owned());
            facts.insert("backend_version".to_owned(), version);
        }
        if self.embedding_batch_size > 0 {
            facts.insert("embedding_batch_size".to_owned(), self.embedding_batch_size.to_string());
        }
        facts
    }
}

impl Backend for LlmBackend {
    fn probe(&self) -> BoxFuture<'_, Result<Found, ProbeError>> {
        Box::pin(self.ask())
    }
}
