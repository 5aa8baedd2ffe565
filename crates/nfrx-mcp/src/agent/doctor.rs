//! `nfrx mcp doctor`: asks everything on a call's way once, from the back to the front, and
//! says of each what is wrong and what to do. The agent itself need not run for most of it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode, Uri};
use nfrx_agent::client::{BackendClient, Silence};
use nfrx_agent::{AgentConfig, BaseUrl};
use nfrx_runtime::Drain;
use nfrx_spi::{Body, KEY_HEADER, Secret};

use super::http_upstream::{HttpSettings, HttpUpstream};
use super::joined::may_join;
use super::servers::{ServerEntry, Transport};
use super::talk::{self, TalkError};
use super::upstream::Upstream;
use super::{AgentError, Clients, CutOnDrop, Endpoint, Maker, McpConfig, OAuthSettings, only_entry};
use crate::offer::segment;

/// How long one question may take.
const ASK_MAX: Duration = Duration::from_secs(10);

/// One thing on a call's way, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// What there is, or what is wrong and what to do.
    pub outcome: Result<String, String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mark, text) = match &self.outcome {
            Ok(text) => ("ok  ", text),
            Err(text) => ("FAIL", text),
        };
        write!(f, "{mark}  {}: {text}", self.what)
    }
}

/// The servers that a client of an agent with these options is to be told of: public id and
/// public address. Those that are one are not named once more.
pub fn public_addresses(config: &AgentConfig, mcp: &McpConfig) -> Result<Vec<(String, String)>, AgentError> {
    let joined = joined_id(mcp);
    let entries = entries(config, mcp)?;
    let apart = entries.iter().filter(|entry| joined.is_none() || !may_join(entry));
    Ok(addresses(config, apart.map(|entry| entry.id.as_str()).chain(joined)))
}

fn addresses<'a>(config: &AgentConfig, ids: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let base = public_base(&config.server_url);
    ids.map(|id| (id.to_owned(), format!("{base}/id/{}", segment(id)))).collect()
}

/// The public id under which all servers are one, if they are.
fn joined_id(mcp: &McpConfig) -> Option<&str> {
    mcp.servers_file.as_ref()?.joined_id()
}

/// Looks at the servers behind the agent, at the relay's door for agents, and at each public
/// address with `api_key`, the key of a client.
pub async fn diagnose(
    config: &AgentConfig,
    mcp: &McpConfig,
    api_key: Option<&Secret>,
    clients: Clients,
) -> Result<Vec<Finding>, AgentError> {
    let children = Drain::new();
    let _ended_with_this = CutOnDrop(children.clone());
    let maker = Maker {
        head_max: Some(ASK_MAX),
        allow_streaming: mcp.allow_streaming,
        clients: Arc::clone(&clients),
        stdio: mcp.stdio.clone(),
        init_max: mcp.transports.init_max,
        children: children.clone(),
    };
    let mut entries = entries(config, mcp)?;
    let mut findings = Vec::new();
    for entry in &mut entries {
        let mut oauths: Vec<_> = entry.transports.iter_mut().filter_map(Transport::oauth_mut).collect();
        // What is in the file says nothing of the endpoint, and is the agent's.
        oauths.iter_mut().for_each(|oauth| oauth.token_file = None);
        let hint = match oauths.is_empty() {
            true => "Does it run, and is its address right?",
            false => "Does it run, is its address right, and does it get a token?",
        };
        if let Some(oauth) = oauths.first() {
            let what = format!("token endpoint {} of {}", oauth.token_url, entry.id);
            findings.push(Finding { what, outcome: token(&maker, oauth).await });
        }
        let what = format!("backend {}", entry.id);
        findings.push(Finding { what, outcome: backend(&maker, entry, hint).await });
    }
    let what = format!("server {}", config.server_url);
    findings.push(Finding { what, outcome: door(config, &clients).await });
    let ids = entries.iter().map(|entry| entry.id.as_str()).chain(joined_id(mcp));
    for (id, url) in addresses(config, ids) {
        let outcome = public(&url, &id, api_key, &clients).await;
        findings.push(Finding { what: format!("public {url}"), outcome });
    }
    Ok(findings)
}

fn entries(config: &AgentConfig, mcp: &McpConfig) -> Result<Vec<ServerEntry>, AgentError> {
    match &mcp.servers_file {
        Some(file) => Ok(file.read()?),
        None => Ok(vec![only_entry(config, mcp.clone())]),
    }
}

/// Where the plugin is reached by clients: beside the door for agents.
fn public_base(server_url: &str) -> String {
    let http = match server_url.trim().split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => server_url.trim().to_owned(),
    };
    let path = http.split('?').next().unwrap_or_default().trim_end_matches('/');
    path.strip_suffix("/connect").unwrap_or(path).to_owned()
}

async fn token(maker: &Maker, oauth: &OAuthSettings) -> Result<String, String> {
    match maker.tokens(oauth)?.get().await {
        Ok(_) => Ok(format!("it gives `{}` a token", oauth.client_id)),
        Err(error) => Err(format!("{error}. Are MCP_OAUTH_TOKEN_URL, client id, secret and scopes right?")),
    }
}

async fn backend(maker: &Maker, entry: &ServerEntry, hint: &str) -> Result<String, String> {
    let server = maker.upstream(entry)?;
    server.probe().await.map_err(|problem| format!("{problem}. {hint}"))?;
    hello(&server).await.map_err(|error| error.to_string())
}

async fn hello(server: &Arc<dyn Upstream>) -> Result<String, TalkError> {
    let hello = talk::hello(server).await?;
    let name = if hello.server.is_empty() { "an MCP server" } else { &hello.server };
    Ok(format!("{name}, protocol {}, {} tools", hello.revision, hello.tools.len()))
}

/// Asks the door for agents without asking for an upgrade: so no agent is disturbed, and the
/// key is judged all the same.
async fn door(config: &AgentConfig, clients: &Clients) -> Result<String, String> {
    let door = format!("{}/connect", public_base(&config.server_url));
    let endpoint = Endpoint::parse(&door).map_err(|error| format!("SERVER_URL {error}"))?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::try_from(endpoint.target("/", None)).map_err(|error| error.to_string())?;
    if let Some(key) = &config.client_key {
        request.headers_mut().insert(AUTHORIZATION, bearer(key)?);
    }
    let answer = ask(clients, endpoint.base(), request).await?;
    match answer {
        StatusCode::UPGRADE_REQUIRED => Ok("it takes agents with this key".to_owned()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err("it refuses the key of agents: set CLIENT_KEY to one that the server knows".to_owned())
        }
        StatusCode::NOT_FOUND => {
            Err("it knows no MCP agents: is SERVER_URL right, and are PLUGINS of the server without `mcp`?"
                .to_owned())
        }
        StatusCode::SERVICE_UNAVAILABLE => Err("it takes no agents now: it is about to stop".to_owned()),
        status => {
            Err(format!("it answers with status {status}: is it a nfrx server, or what stands before it?"))
        }
    }
}

async fn ask(clients: &Clients, base: &BaseUrl, request: Request<Body>) -> Result<StatusCode, String> {
    let client: BackendClient = clients(base).map_err(|error| error.to_string())?;
    let asking = client.ask(request, Silence { head: Some(ASK_MAX), body: Some(ASK_MAX) });
    let answer = asking.await.map_err(|error| format!("it can't be reached: {error}"))?;
    Ok(answer.status())
}

fn bearer(key: &Secret) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.reveal()))
        .map_err(|_| "the key has characters that no header takes".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A call as a client makes it.
async fn public(url: &str, id: &str, api_key: Option<&Secret>, clients: &Clients) -> Result<String, String> {
    let endpoint = Endpoint::parse(url).map_err(|error| format!("the address {error}"))?;
    let headers = match api_key {
        None => Vec::new(),
        Some(key) => {
            let value = HeaderValue::try_from(key.reveal())
                .map_err(|_| "API_KEY has characters that no header takes")?;
            vec![(http::HeaderName::from_static(KEY_HEADER), value)]
        }
    };
    let client = clients(endpoint.base()).map_err(|error| error.to_string())?;
    let settings = HttpSettings {
        head_max: Some(ASK_MAX),
        allow_streaming: true,
        pass_authorization: false,
        headers,
        tokens: None,
    };
    let server: Arc<dyn Upstream> = Arc::new(HttpUpstream::new(client, endpoint, settings));
    hello(&server).await.map_err(|error| match error.status() {
        Some(StatusCode::UNAUTHORIZED) if api_key.is_none() => {
            "it wants a key: set API_KEY to one of the server's keys for clients and ask again".to_owned()
        }
        Some(StatusCode::UNAUTHORIZED) => "it does not know API_KEY".to_owned(),
        Some(StatusCode::FORBIDDEN) => format!("this API_KEY may not reach `{id}`"),
        Some(StatusCode::NOT_FOUND) => {
            format!("no agent has ever offered `{id}`: does the agent run, and with the same CLIENT_ID?")
        }
        Some(StatusCode::SERVICE_UNAVAILABLE) => {
            "its agent is away: does it run, and what does its log say?".to_owned()
        }
        Some(StatusCode::BAD_GATEWAY) => {
            "its agent is there and can't reach the server behind it: see `backend` above".to_owned()
        }
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_address_lies_beside_the_door_for_agents() {
        assert_eq!(public_base("wss://r.example/api/mcp/connect"), "https://r.example/api/mcp");
        assert_eq!(public_base("ws://localhost:8080/x/api/mcp/connect/"), "http://localhost:8080/x/api/mcp");
        assert_eq!(public_base("https://r.example/api/mcp"), "https://r.example/api/mcp");
    }

    #[test]
    fn a_finding_is_one_line() {
        let finding = Finding { what: "backend a".into(), outcome: Err("away".into()) };
        assert_eq!(finding.to_string(), "FAIL  backend a: away");
    }
}
