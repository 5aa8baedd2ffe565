//! The client credentials of one server of the file, as they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nfrx_spi::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::expand::expand;
use crate::agent::oauth::scopes;
use crate::agent::{Endpoint, OAuthSettings};

/// The names are those that clients have, where they have any.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenOAuth {
    enabled: Option<bool>,
    #[serde(alias = "tokenURL")]
    token_url: Option<String>,
    #[serde(alias = "clientID")]
    client_id: Option<String>,
    client_secret: Option<String>,
    #[serde(default, alias = "scope")]
    scopes: Scopes,
    token_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, Value>,
}

/// Scopes as a list or as one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    List(Vec<String>),
    Text(String),
}

impl Default for Scopes {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl WrittenOAuth {
    /// The settings, with everything replaced that stands for a value of the environment;
    /// `None` if they are switched off.
    pub(super) fn check(self, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<OAuthSettings>, String> {
        if self.enabled == Some(false) {
            return Ok(None);
        }
        let needed = |value: &Option<String>, name| match value {
            Some(value) => expand(value, env),
            None => Err(format!("its `oauth` lacks `{name}`: client credentials are what an agent can use")),
        };
        let token_url = Endpoint::parse(&needed(&self.token_url, "tokenUrl")?)
            .map_err(|error| format!("its `tokenUrl` {error}"))?;
        let client_secret = self.client_secret.map(|secret| expand(&secret, env)).transpose()?;
        Ok(Some(OAuthSettings {
            token_url,
            client_id: needed(&self.client_id, "clientId")?,
            client_secret: client_secret.filter(|secret| !secret.is_empty()).map(Secret::new),
            scopes: match self.scopes {
                Scopes::List(list) => scopes(&list.join(" ")),
                Scopes::Text(text) => scopes(&text),
            },
            token_file: self.token_file,
        }))
    }
}
