//! OAuth client credentials: the agent's own token towards a server, fetched where its options
//! say, when a request first needs one.
//!
//! A token is shared by all requests to its server, fetched anew a little before it expires or
//! when the server refuses it, and kept in a file if one is named. Secrets and tokens are
//! never shown, whatever an endpoint answers.

mod fetch;
mod file;
mod tokens;

use std::path::PathBuf;

use nfrx_agent::option_error;
use nfrx_spi::{ArgSpec, ArgType, CallError, OptionError, PluginOptions, Secret};

use super::Endpoint;
use fetch::FETCH_MAX;
pub(super) use tokens::Tokens;

/// Where a token comes from, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthSettings {
    /// The token endpoint.
    pub token_url: Endpoint,
    /// As whom the agent asks.
    pub client_id: String,
    /// What proves it; a public client has none.
    pub client_secret: Option<Secret>,
    /// What the token is to allow, apart by spaces; empty for what the endpoint gives.
    pub scopes: String,
    /// Where the token is kept while the agent does not run.
    pub token_file: Option<PathBuf>,
}

/// Why there is no token, for the agent's own operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// The endpoint gave no answer.
    #[error("the token endpoint {endpoint} gave no answer: {problem}")]
    NoAnswer {
        /// Which one.
        endpoint: String,
        /// What happened.
        problem: String,
        /// The same for the relay.
        call_error: CallError,
    },
    /// It took too long.
    #[error("the token endpoint {endpoint} did not answer within {} s", FETCH_MAX.as_secs())]
    Timeout {
        /// Which one.
        endpoint: String,
    },
    /// It gives this client no token.
    #[error("the token endpoint {endpoint} gives no token: status {status}{}", with(.code))]
    Refused {
        /// Which one.
        endpoint: String,
        /// The answer's status.
        status: u16,
        /// The error's code, such as `invalid_client`; may be empty.
        code: String,
    },
    /// Its answer can't be used.
    #[error("the answer of the token endpoint {endpoint} can't be used: {problem}")]
    Useless {
        /// Which one.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

fn with(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" and error `{code}`") }
}

impl TokenError {
    /// What the relay is told: the request never reached its server.
    pub(super) fn call_error(&self) -> CallError {
        match self {
            Self::NoAnswer { call_error, .. } => *call_error,
            Self::Timeout { .. } => CallError::Timeout,
            Self::Refused { .. } | Self::Useless { .. } => CallError::Upstream,
        }
    }
}

/// The options of client credentials, under the names of the old documents.
pub(super) fn oauth_specs() -> Vec<ArgSpec> {
    use ArgType::{Bool, String};
    vec![
        ArgSpec::new(
            "mcp_oauth_token_url",
            String,
            "where the agent fetches its own token for the MCP server",
        )
        .from("--mcp-oauth-token-url", "MCP_OAUTH_TOKEN_URL", "mcp_oauth_token_url")
        .aliases(&["oauth.tokenURL"])
        .example("https://login.example.org/oauth/token"),
        ArgSpec::new("mcp_oauth_client_id", String, "as whom it asks for the token")
            .from("--mcp-oauth-client-id", "MCP_OAUTH_CLIENT_ID", "mcp_oauth_client_id")
            .aliases(&["oauth.clientID"]),
        ArgSpec::new("mcp_oauth_client_secret", String, "what proves that it is that client")
            .from("--mcp-oauth-client-secret", "MCP_OAUTH_CLIENT_SECRET", "mcp_oauth_client_secret")
            .aliases(&["oauth.clientSecret"])
            .secret(),
        ArgSpec::new("mcp_oauth_scopes", String, "what the token is to allow, apart by spaces or commas")
            .from("--mcp-oauth-scopes", "MCP_OAUTH_SCOPES", "mcp_oauth_scopes")
            .aliases(&["oauth.scopes"]),
        ArgSpec::new("mcp_oauth_token_file", String, "file in which the token outlives the agent")
            .from("--mcp-oauth-token-file", "MCP_OAUTH_TOKEN_FILE", "mcp_oauth_token_file")
            .aliases(&["oauth.tokenFile"])
            .example("/var/lib/nfrx/mcp-token.json"),
        ArgSpec::new("mcp_oauth_enabled", Bool, "false: the other options of OAuth mean nothing")
            .from("--mcp-oauth-enabled", "MCP_OAUTH_ENABLED", "mcp_oauth_enabled")
            .aliases(&["oauth.enabled"])
            .default("true"),
    ]
}

impl OAuthSettings {
    /// Reads the options of the only server, if they name a token endpoint.
    pub fn from_options(options: &PluginOptions) -> Result<Option<Self>, OptionError> {
        let text = |id| Some(options.text(id).trim()).filter(|text| !text.is_empty());
        let Some(token_url) = text("mcp_oauth_token_url") else { return Ok(None) };
        if !options.flag("mcp_oauth_enabled")? {
            return Ok(None);
        }
        let token_url = Endpoint::parse(token_url).map_err(|error| {
            option_error(options, "mcp_oauth_token_url", error.to_string().trim_start_matches("must be "))
        })?;
        let client_id = text("mcp_oauth_client_id")
            .ok_or_else(|| option_error(options, "mcp_oauth_client_id", "set beside MCP_OAUTH_TOKEN_URL"))?;
        Ok(Some(Self {
            token_url,
            client_id: client_id.to_owned(),
            client_secret: text("mcp_oauth_client_secret").map(Secret::new),
            scopes: scopes(options.text("mcp_oauth_scopes")),
            token_file: text("mcp_oauth_token_file").map(Into::into),
        }))
    }
}

/// Scopes as an endpoint takes them.
pub(super) fn scopes(text: &str) -> String {
    let words = text.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Option<OAuthSettings>, OptionError> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        OAuthSettings::from_options(&PluginOptions::new(oauth_specs(), values.collect()))
    }

    // Seen to fail: with the switch left out, and with scopes passed on with their commas.
    #[test]
    fn client_credentials_are_on_when_an_endpoint_is_named_and_not_switched_off() {
        let named = [
            ("mcp_oauth_token_url", "https://h/token"),
            ("mcp_oauth_client_id", "den"),
            ("mcp_oauth_client_secret", "hunter2"),
            ("mcp_oauth_scopes", "read,write  all"),
        ];
        let settings = read(&named).expect("it is good").expect("it is on");
        assert_eq!((settings.client_id.as_str(), settings.scopes.as_str()), ("den", "read write all"));
        assert!(!format!("{settings:?}").contains("hunter2"));
        let off = [&named[..], &[("mcp_oauth_enabled", "false")]].concat();
        assert_eq!((read(&off), read(&named[1..])), (Ok(None), Ok(None)));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |values: &[_]| read(values).expect_err("refused").to_string();
        assert!(error(&[("mcp_oauth_token_url", "https://h/token")]).contains("MCP_OAUTH_CLIENT_ID"));
        assert!(error(&[("mcp_oauth_token_url", "h/token")]).contains("MCP_OAUTH_TOKEN_URL"));
    }
}
