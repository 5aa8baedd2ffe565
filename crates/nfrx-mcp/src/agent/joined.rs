//! All servers of a file as one more: its tools are theirs, each called `server__tool`
//! (decision 24). Whoever wants more of a server than its tools asks that server itself.
//!
//! Clients see a server of both eras, made of what serves processes over stdio: its "process"
//! is a task here, one for each legacy session and one for all modern clients. Each has a
//! conversation of its own with every server, in that server's era; so neither ids nor what a
//! server remembers of its client ever meet another's.

mod link;
mod peer;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response};
use nfrx_runtime::Drain;
use nfrx_spi::{Body, BoxFuture, CallError};
use tokio::sync::watch;

use super::policy::{Guard, ToolPolicy};
use super::servers::ServerEntry;
use super::service::Served;
use super::stdio::{Eras, Launch, Process, SessionLimits, StdioSettings, StdioUpstream};
use super::upstream::Upstream;
use crate::offer::{SERVERS_MAX, ServerOffer};

/// What stands between a server's name and its tool's.
const BETWEEN: &str = "__";

/// Names are part of tools' names, which models' interfaces bound.
const NAME_BYTES_MAX: usize = 32;

/// How long a client may wait for its session: no server is asked before it is used.
const START_MAX: Duration = Duration::from_secs(10);

/// A tool's name with its server's.
fn join(server: &str, tool: &str) -> String {
    format!("{server}{BETWEEN}{tool}")
}

/// The server and the tool in a name. There is one way to read it: see [`check`].
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    name.split_once(BETWEEN)
}

/// Whether these servers can be one under `id`, or why not.
pub(super) fn check(id: &str, entries: &[ServerEntry]) -> Result<(), String> {
    if let Some(other) = entries.iter().find(|entry| entry.id == id) {
        return Err(format!("`{}` has the public id `{id}`, which MCP_AGGREGATE gives to all", other.name));
    }
    if entries.len() == SERVERS_MAX {
        return Err(format!("with MCP_AGGREGATE it may name {} servers at most", SERVERS_MAX - 1));
    }
    let is_word = |name: &str| {
        name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !name.contains(BETWEEN)
            && !name.ends_with('_')
    };
    match entries.iter().find(|entry| may_join(entry) && !is_word(&entry.name)) {
        Some(odd) => Err(format!(
            "with MCP_AGGREGATE the name `{}` must be of letters, digits, `-` and single `_`, {NAME_BYTES_MAX} at most, the last no `_`",
            odd.name
        )),
        None => Ok(()),
    }
}

/// Whether a server is part of the whole. One that has a token of its own, or wants to know
/// its callers, is not opened by what opens the others.
pub(super) fn may_join(entry: &ServerEntry) -> bool {
    entry.auth_token.is_none() && !entry.pass_authorization
}

/// Makes one server of all, and keeps it while they change.
pub(super) struct Joiner {
    id: String,
    servers: watch::Sender<Servers>,
    whole: Arc<dyn Upstream>,
}

impl Joiner {
    /// Under this public id. Its sessions are tasks of `drain`, bounded as those over stdio.
    pub(super) fn new(id: &str, settings: &StdioSettings, drain: &Drain) -> Self {
        let servers = watch::Sender::new(Servers::default());
        let limits = SessionLimits { start_max: START_MAX, ..settings.limits() };
        let launch = Arc::new(Links(servers.subscribe()));
        let sessions = StdioUpstream::with_launch(id, launch, Eras::Both, limits, drain);
        let whole = Arc::new(Joined { sessions, servers: servers.subscribe() });
        Self { id: id.to_owned(), servers, whole }
    }

    /// One server of these. Its sessions go on; what they say to servers that stayed the same
    /// does as well.
    pub(super) fn join(&self, servers: &[(ServerEntry, Served)]) -> Served {
        let parts: Vec<_> = servers.iter().filter(|(entry, _)| may_join(entry)).collect();
        let before = self.servers.borrow().clone();
        let part = |(entry, served): &&(ServerEntry, Served)| {
            let same = before.iter().find(|part| Arc::ptr_eq(&part.bare, &served.bare));
            same.cloned().unwrap_or_else(|| Part {
                name: entry.name.clone(),
                bare: Arc::clone(&served.bare),
                server: Guard::around(Arc::clone(&served.bare), entry.policy.without_lists()),
            })
        };
        self.servers.send_replace(parts.iter().map(part).collect());
        let policies = parts.iter().map(|(entry, _)| (entry.name.clone(), entry.policy.clone()));
        let policy = ToolPolicy::joined(policies.collect::<BTreeMap<_, _>>());
        let offer = ServerOffer {
            id: self.id.clone(),
            name: self.id.clone(),
            replicas: parts.iter().all(|(entry, _)| entry.replicas),
            ..ServerOffer::default()
        };
        let bare = Arc::clone(&self.whole);
        Served { offer, upstream: Guard::around(Arc::clone(&bare), policy), bare }
    }
}

/// One of the servers.
#[derive(Clone)]
struct Part {
    name: String,
    /// The way to it, by which it is known again.
    bare: Arc<dyn Upstream>,
    /// The same behind such of its rules as are of no single caller.
    server: Arc<dyn Upstream>,
}

type Servers = Arc<[Part]>;

struct Joined {
    sessions: StdioUpstream,
    servers: watch::Receiver<Servers>,
}

impl Upstream for Joined {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        self.sessions.handle(request)
    }

    /// It can be used as soon as one of its servers can.
    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        let servers = self.servers.borrow().clone();
        Box::pin(async move {
            let found = join_all(servers.iter().map(|part| part.server.probe())).await;
            match found.iter().any(Result::is_ok) {
                true => Ok(()),
                false => Err("none of its servers can be reached".to_owned()),
            }
        })
    }
}

/// Opens a link for each session.
struct Links(watch::Receiver<Servers>);

impl Launch for Links {
    fn launch(&self) -> io::Result<Process> {
        Ok(Process::of_task(|told, says| link::run(self.0.clone(), told, says)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::endpoint::Endpoint;
    use crate::agent::servers::{HttpWay, Transport};

    fn entry(name: &str, id: &str) -> ServerEntry {
        let endpoint = Endpoint::parse("http://h/").expect("an address");
        let way = HttpWay { endpoint, headers: Vec::new(), oauth: None };
        ServerEntry {
            name: name.to_owned(),
            id: id.to_owned(),
            transports: vec![Transport::Http(Box::new(way))],
            policy: ToolPolicy::default(),
            auth_token: None,
            replicas: false,
            pass_authorization: false,
            below: false,
        }
    }

    // Seen to fail: without the look at the last letter.
    #[test]
    fn a_tools_name_can_be_read_in_one_way_only() {
        for name in ["a", "web-2", "my_files", "_a"] {
            check("den", &[entry(name, "x")]).expect("a good name");
            for tool in ["look", "_look", "__look", "a__b"] {
                assert_eq!(split(&join(name, tool)), Some((name, tool)));
            }
        }
        for name in ["a__b", "a_", "ä", "a b", "a.b", &"a".repeat(33)] {
            let error = check("den", &[entry("good", "x"), entry(name, "y")]).expect_err("refused");
            assert!(error.contains(name), "{error}");
            let apart = ServerEntry { pass_authorization: true, ..entry(name, "y") };
            check("den", &[apart]).expect("its tools have their own names");
        }
        let error = check("den", &[entry("a", "den")]).expect_err("refused");
        assert!(error.contains("`a`") && error.contains("MCP_AGGREGATE"), "{error}");
        let many: Vec<_> = (0..SERVERS_MAX).map(|n| entry("a", &n.to_string())).collect();
        assert!(check("den", &many).is_err() && check("den", &many[1..]).is_ok());
    }
}
