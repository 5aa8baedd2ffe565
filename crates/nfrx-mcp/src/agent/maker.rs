//! Makes what serves an entry, whatever its transports are.

use std::sync::Arc;
use std::time::Duration;

use nfrx_runtime::Drain;

use super::Clients;
use super::http_upstream::{HttpSettings, HttpUpstream};
use super::oauth::{OAuthSettings, Tokens};
use super::policy::Guard;
use super::servers::{HttpWay, ServerEntry, Transport};
use super::service::Served;
use super::sse::SseUpstream;
use super::stdio::{StdioSettings, StdioUpstream};
use super::transports::FirstOf;
use super::upstream::Upstream;
use crate::digest::TokenDigest;
use crate::offer::ServerOffer;

/// Makes what serves an entry.
pub(super) struct Maker {
    pub(super) head_max: Option<Duration>,
    pub(super) allow_streaming: bool,
    pub(super) clients: Clients,
    pub(super) stdio: StdioSettings,
    /// How long each way to a server may take, if there are several.
    pub(super) init_max: Duration,
    /// Whose tasks the processes of servers are.
    pub(super) children: Drain,
}

impl Maker {
    /// Serves an entry.
    pub(super) fn serve(&self, entry: &ServerEntry) -> Result<Served, String> {
        let bare = self.upstream(entry)?;
        let upstream = Guard::around(Arc::clone(&bare), entry.policy.clone());
        let offer = ServerOffer {
            id: entry.id.clone(),
            name: entry.name.clone(),
            ready: false,
            replicas: entry.replicas,
            token: entry.auth_token.as_ref().map(|token| TokenDigest::of(token.reveal())),
            pass_authorization: entry.pass_authorization,
            below: entry.below,
        };
        Ok(Served { offer, upstream, bare })
    }

    /// The way to its server, however many there are.
    pub(super) fn upstream(&self, entry: &ServerEntry) -> Result<Arc<dyn Upstream>, String> {
        if let [only] = &*entry.transports {
            return self.upstream_by(only, entry, &mut None).map(|(_, upstream)| upstream);
        }
        let mut http = None;
        let ways = entry.transports.iter().map(|transport| self.upstream_by(transport, entry, &mut http));
        let ways = ways.collect::<Result<_, _>>()?;
        Ok(Arc::new(FirstOf::new(&entry.name, ways, self.init_max, &self.children)))
    }

    /// One way to a server, and what it is called. Ways over HTTP share `http`, and with it
    /// their token.
    fn upstream_by(
        &self,
        transport: &Transport,
        entry: &ServerEntry,
        http: &mut Option<HttpUpstream>,
    ) -> Result<(&'static str, Arc<dyn Upstream>), String> {
        let mut over_http = |way| match http {
            Some(made) => Ok::<_, String>(made.clone()),
            None => Ok(http.insert(self.http(way, entry.pass_authorization)?).clone()),
        };
        match transport {
            Transport::Http(way) => Ok(("http", Arc::new(over_http(way)?))),
            Transport::Sse(_) if entry.pass_authorization => {
                Err("by HTTP+SSE a server can't get its callers' own `Authorization`".to_owned())
            }
            Transport::Sse(way) => {
                let server = over_http(way)?;
                Ok(("sse", Arc::new(SseUpstream::new(&entry.name, server, &self.stdio, &self.children))))
            }
            Transport::Stdio(command) if cfg!(unix) => {
                let stdio = StdioUpstream::new(&entry.name, command.clone(), &self.stdio, &self.children);
                Ok(("stdio", Arc::new(stdio)))
            }
            Transport::Stdio(command) => {
                Err(format!("`{}` can be started on Unix systems only", command.command))
            }
        }
    }

    fn http(&self, way: &HttpWay, pass_authorization: bool) -> Result<HttpUpstream, String> {
        let client = (self.clients)(way.endpoint.base()).map_err(|error| error.to_string())?;
        let settings = HttpSettings {
            head_max: self.head_max,
            allow_streaming: self.allow_streaming,
            pass_authorization,
            headers: way.headers.clone(),
            tokens: way.oauth.as_ref().map(|oauth| self.tokens(oauth)).transpose()?,
        };
        Ok(HttpUpstream::new(client, way.endpoint.clone(), settings))
    }

    /// The agent's own tokens of these settings.
    pub(super) fn tokens(&self, oauth: &OAuthSettings) -> Result<Tokens, String> {
        let client = (self.clients)(oauth.token_url.base()).map_err(|error| error.to_string())?;
        Ok(Tokens::new(client, oauth.clone()))
    }
}
