//! What answers one session's messages, or those of all modern clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::warn;

use super::peer::Peer;
use super::{Part, Servers, join, split};
use crate::agent::sse::write;
use crate::agent::stdio::message::{self, Id, Kind, Message, Object, raw};
use crate::agent::stdio::{LINE_BYTES_MAX, Line, Lines, META_VERSION, failure_of};

/// How long a server may take to list its tools before the list is given without them.
const LIST_MAX: Duration = Duration::from_secs(15);

/// How long the end of conversations may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// The versions that are spoken, the newest of each era last.
const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const MODERN: &str = "2026-07-28";

/// Answers until `told` is let go of, and ends all conversations.
pub(super) async fn run(
    mut servers: watch::Receiver<Servers>,
    told: DuplexStream,
    says: DuplexStream,
) -> Option<String> {
    let (said, to_say) = mpsc::channel(1);
    servers.mark_changed();
    let mut peers = Peers { servers, current: Arc::default() };
    tokio::select! {
        () = hear(told, &mut peers, &said) => {}
        () = write(says, to_say) => {}
    }
    close(&peers.current).await;
    None
}

/// Ends conversations. What can't be told the end of its session will find it itself.
async fn close(peers: &[Arc<Peer>]) {
    let _ = timeout(CLOSE_MAX, join_all(peers.iter().map(|peer| peer.close()))).await;
}

/// The servers as the file has them.
struct Peers {
    servers: watch::Receiver<Servers>,
    current: Arc<[Arc<Peer>]>,
}

impl Peers {
    /// If the file has changed: follows it, and gives those that are gone.
    fn follow(&mut self) -> Option<Vec<Arc<Peer>>> {
        if !self.servers.has_changed().unwrap_or_default() {
            return None;
        }
        let before = Arc::clone(&self.current);
        let is = |peer: &Peer, part: &Part| Arc::ptr_eq(&peer.part.bare, &part.bare);
        let parts = self.servers.borrow_and_update().clone();
        let stayed = |part: &Part| before.iter().find(|peer| is(peer, part)).cloned();
        let peer = |part: &Part| stayed(part).unwrap_or_else(|| Arc::new(Peer::new(part.clone())));
        self.current = parts.iter().map(peer).collect();
        let is_gone = |peer: &&Arc<Peer>| !parts.iter().any(|part| is(peer, part));
        Some(before.iter().filter(is_gone).cloned().collect())
    }
}

/// Hears the clients out.
async fn hear(told: DuplexStream, peers: &mut Peers, said: &mpsc::Sender<Bytes>) {
    let mut told = Lines::new(told, LINE_BYTES_MAX);
    let mut tasks = JoinSet::new();
    let mut calls: BTreeMap<Id, AbortHandle> = BTreeMap::new();
    while let Some(line) = told.next().await {
        while tasks.try_join_next().is_some() {}
        calls.retain(|_, task| !task.is_finished());
        if let Some(gone) = peers.follow() {
            tasks.spawn(async move { close(&gone).await });
        }
        let link = Link { peers: Arc::clone(&peers.current), said: said.clone() };
        let Line::Whole(line) = line else { continue };
        let Some(message) = Message::parse(&line) else { continue };
        match &message.kind {
            Kind::Request { id, .. } => {
                calls.insert(id.clone(), tasks.spawn(async move { link.answer(message).await }));
            }
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let id = message.params().and_then(|params| Id::of(params.get("requestId")?));
                let Some(call) = id.and_then(|id| calls.remove(&id)) else { continue };
                call.abort();
                tasks.spawn(async move { link.cancel(message.line).await });
            }
            Kind::Notification { .. } | Kind::Response { .. } => {}
        }
    }
}

/// What a message is answered by.
struct Link {
    peers: Arc<[Arc<Peer>]>,
    said: mpsc::Sender<Bytes>,
}

impl Link {
    /// Each server is told: whose the call was is of no matter to the others, who have none of
    /// this id.
    async fn cancel(&self, notification: Bytes) {
        join_all(self.peers.iter().map(|peer| peer.cancel(notification.clone()))).await;
    }

    async fn answer(&self, message: Message) {
        let params = message.params().unwrap_or_default();
        let is_modern = params.object("_meta").is_some_and(|meta| meta.get(META_VERSION).is_some());
        let answer = match message.method().unwrap_or_default() {
            "initialize" => Ok(initialized(&params)),
            "server/discover" => Ok(discovered()),
            "ping" => Ok(Object::default()),
            "tools/list" => self.list(&params, is_modern).await,
            "tools/call" => return self.call(message, params, is_modern).await,
            method => Err((METHOD_NOT_FOUND, format!("Method not found: {method}"))),
        };
        self.say(match answer {
            Ok(result) => {
                let mut answer = object(&json!({ "jsonrpc": "2.0" }));
                answer.set("id", message.raw_id().map_or_else(|| raw(&Value::Null), ToOwned::to_owned));
                answer.set("result", result.to_raw());
                message::line(&answer)
            }
            Err((code, why)) => message::error(message.raw_id(), code, &why, None),
        })
        .await;
    }

    async fn say(&self, line: Bytes) {
        // Whoever listened is gone with its session.
        let _ = self.said.send(line).await;
    }

    /// All tools of all servers, in the order of the servers' names.
    async fn list(&self, params: &Object, is_modern: bool) -> Result<Object, (i32, String)> {
        if params.get("cursor").is_some() {
            return Err((INVALID_PARAMS, "the list of tools has one page".to_owned()));
        }
        let late = |_| Err(format!("it did not list its tools within {} s", LIST_MAX.as_secs()));
        let asked = self.peers.iter().map(|peer| async move {
            let listed = timeout(LIST_MAX, peer.tools()).await.unwrap_or_else(late);
            (peer, listed)
        });
        let (mut tools, mut missing) = (Vec::new(), Vec::new());
        for (peer, listed) in join_all(asked).await {
            match listed {
                Ok(listed) => tools.extend(listed.into_iter().filter_map(|tool| named(peer.name(), tool))),
                Err(why) => {
                    warn!(server = peer.name(), why, "an MCP server is missing in the list of all tools");
                    missing.push(peer.name());
                }
            }
        }
        let mut result = Object::default();
        if is_modern {
            result = object(&json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "private" }));
        }
        result.set("tools", raw(&tools));
        if !missing.is_empty() {
            result.set("_meta", raw(&json!({ "nfrx/unavailable": missing })));
        }
        Ok(result)
    }

    async fn call(&self, message: Message, mut params: Object, is_modern: bool) {
        let name = params.text("name").unwrap_or_default();
        let found = split(&name).and_then(|(server, tool)| {
            let peer = self.peers.iter().find(|peer| peer.name() == server)?;
            Some((peer, tool))
        });
        let Some((peer, tool)) = found else {
            let why = format!("Unknown tool: {name}");
            return self.say(message::error(message.raw_id(), INVALID_PARAMS, &why, None)).await;
        };
        params.set("name", raw(tool));
        let mut request = message.object.clone();
        request.set("params", params.to_raw());
        let answer = match peer.call(tool, request, &self.said).await {
            Ok(answer) if is_modern => complete(answer),
            Ok(answer) => Some(answer.line),
            Err(why) => failure_of(&message.line, &format!("the MCP server `{}`: {why}", peer.name())),
        };
        if let Some(answer) = answer {
            self.say(answer).await;
        }
    }
}

/// A tool under the name that it has here; nobody can call one without any.
fn named(server: &str, mut tool: Object) -> Option<Object> {
    let name = tool.text("name")?;
    tool.set("name", raw(&join(server, &name)));
    Some(tool)
}

/// An answer for a modern client: those of legacy servers don't say that they are complete.
fn complete(answer: Message) -> Option<Bytes> {
    let Some(mut result) = answer.object.object("result") else { return Some(answer.line) };
    if result.get("resultType").is_some() {
        return Some(answer.line);
    }
    result.set("resultType", raw("complete"));
    let mut object = answer.object;
    object.set("result", result.to_raw());
    Some(message::line(&object))
}

fn initialized(params: &Object) -> Object {
    let wanted = params.text("protocolVersion").unwrap_or_default();
    let version = LEGACY.into_iter().find(|version| *version == wanted).unwrap_or("2025-11-25");
    object(&json!({
        "protocolVersion": version,
        "capabilities": { "tools": {} },
        "serverInfo": server_info(),
    }))
}

fn discovered() -> Object {
    let versions: Vec<_> = LEGACY.into_iter().chain([MODERN]).collect();
    object(&json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": { "tools": {} },
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
    }))
}

fn server_info() -> Value {
    json!({ "name": "nfrx", "version": nfrx_runtime::build_info().version })
}

fn object(value: &Value) -> Object {
    Object::of(&raw(value)).unwrap_or_default()
}
