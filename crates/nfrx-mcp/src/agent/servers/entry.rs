//! One server of the file: as it is written, and as the agent runs on it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use nfrx_spi::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::expand::expand;
use super::oauth::WrittenOAuth;
use crate::agent::policy::ToolPolicy;
use crate::agent::stdio::ServerCommand;
use crate::agent::{Endpoint, OAuthSettings};
use crate::offer::is_public_id;

/// The whole file, as it is written.
#[derive(Deserialize)]
pub(super) struct File {
    #[serde(rename = "mcpServers", alias = "servers")]
    pub(super) servers: BTreeMap<String, Written>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, Value>,
}

/// An entry as it is written: what clients know, then what is ours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    #[serde(rename = "type", alias = "transport")]
    kind: Option<String>,
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    #[serde(alias = "serverUrl", alias = "httpUrl")]
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    pub(super) oauth: Option<WrittenOAuth>,
    #[serde(default)]
    pub(super) disabled: bool,
    id: Option<String>,
    auth_token: Option<String>,
    tools: Option<Vec<String>>,
    #[serde(default)]
    tools_by_key: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    replicas: bool,
    #[serde(default)]
    pass_authorization: bool,
    #[serde(default)]
    subpaths: bool,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, Value>,
}

/// One server that is to be served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServerEntry {
    /// Its name in the file.
    pub(crate) name: String,
    /// Its public id.
    pub(crate) id: String,
    /// The ways to it, tried in this order; at least one.
    pub(crate) transports: Vec<Transport>,
    /// Which of its tools may be called.
    pub(crate) policy: ToolPolicy,
    /// What callers need who have no key of the relay.
    pub(crate) auth_token: Option<Secret>,
    /// Whether other agents may serve the same id.
    pub(crate) replicas: bool,
    /// Whether it gets the caller's own `Authorization`.
    pub(crate) pass_authorization: bool,
    /// Whether paths below its address may be asked for.
    pub(crate) below: bool,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Transport {
    /// By Streamable HTTP.
    Http(Box<HttpWay>),
    /// By the HTTP+SSE of the protocol's first revision.
    Sse(Box<HttpWay>),
    /// As a child, over its standard streams.
    Stdio(ServerCommand),
}

/// Where a server is, and what it wants of who asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpWay {
    /// Where.
    pub(crate) endpoint: Endpoint,
    /// What each request says besides; the values are secrets.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the agent's own token comes from, if it needs one.
    pub(crate) oauth: Option<OAuthSettings>,
}

impl Transport {
    /// Where tokens for it come from.
    pub(crate) fn oauth_mut(&mut self) -> Option<&mut OAuthSettings> {
        match self {
            Self::Http(way) | Self::Sse(way) => way.oauth.as_mut(),
            Self::Stdio(_) => None,
        }
    }
}

impl Written {
    /// The entry, with everything replaced that stands for a value of the environment.
    pub(super) fn check(
        self,
        name: &str,
        client_id: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ServerEntry, String> {
        let id = match (&self.id, client_id) {
            (Some(id), _) => id.clone(),
            (None, Some(client_id)) => format!("{client_id}-{name}"),
            (None, None) => name.to_owned(),
        };
        if !is_public_id(&id) {
            return Err(format!("`{id}` can't be a public id: one segment of a path, 128 bytes at most"));
        }
        let by_key =
            self.tools_by_key.iter().map(|(key, tools)| (key.clone(), tools.iter().cloned().collect()));
        let policy = ToolPolicy::new(
            self.tools.as_ref().map(|tools| tools.iter().cloned().collect()),
            by_key.collect(),
            self.read_only,
        );
        let auth_token = self.auth_token.as_deref().map(|token| expand(token, env)).transpose()?;
        let auth_token = auth_token.filter(|token| !token.is_empty()).map(Secret::new);
        Ok(ServerEntry {
            name: name.to_owned(),
            id,
            policy,
            auth_token,
            replicas: self.replicas,
            pass_authorization: self.pass_authorization,
            below: self.subpaths,
            transports: vec![self.transport(env)?],
        })
    }

    fn transport(self, env: &dyn Fn(&str) -> Option<String>) -> Result<Transport, String> {
        let kind = self.kind.as_deref().unwrap_or_default();
        match (self.command, self.url) {
            (Some(_), Some(_)) => {
                Err("it has both a `command` and a `url`; one of them says how it is reached".into())
            }
            (None, None) => Err("it has neither a `url` nor a `command`".into()),
            (None, Some(_))
                if !["", "sse", "http", "streamable-http", "streamableHttp", "streamable_http"]
                    .contains(&kind) =>
            {
                Err(format!(
                    "its `type` is `{kind}`, and a `url` is asked by `http` (Streamable HTTP) or `sse`"
                ))
            }
            (None, Some(url)) => {
                let endpoint =
                    Endpoint::parse(&expand(&url, env)?).map_err(|error| format!("its `url` {error}"))?;
                let headers = self.headers.iter().map(|(name, value)| header(name, &expand(value, env)?));
                let headers = headers.collect::<Result<Vec<_>, String>>()?;
                let oauth = self.oauth.map(|oauth| oauth.check(env)).transpose()?.flatten();
                let has_authorization = headers.iter().any(|(name, _)| *name == AUTHORIZATION);
                if oauth.is_some() && (self.pass_authorization || has_authorization) {
                    return Err("it has `oauth` and another `Authorization`; a server gets one".into());
                }
                let way = Box::new(HttpWay { endpoint, headers, oauth });
                Ok(if kind == "sse" { Transport::Sse(way) } else { Transport::Http(way) })
            }
            (Some(_), None) if !["", "stdio"].contains(&kind) => {
                Err(format!("its `type` is `{kind}`, and a `command` is spoken to by `stdio`"))
            }
            (Some(command), None) => {
                let args = self.args.iter().map(|arg| expand(arg, env)).collect::<Result<_, _>>()?;
                let env_of = |(name, value): (&String, &String)| {
                    Ok::<_, String>((name.clone(), Secret::new(expand(value, env)?)))
                };
                let command = expand(&command, env)?;
                let child_env = self.env.iter().map(env_of).collect::<Result<_, _>>()?;
                Ok(Transport::Stdio(ServerCommand { command, args, env: child_env, cwd: self.cwd }))
            }
        }
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let bad = || format!("its header `{name}` can't be sent");
    let mut value = HeaderValue::try_from(value.trim()).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok((HeaderName::try_from(name).map_err(|_| bad())?, value))
}
