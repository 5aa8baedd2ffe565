//! What a handler knows of a request besides its head and body: who asks, under
//! which id, and how errors are to be written.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{BoxFuture, Dialect};

/// The context of one request, made by the front door, handed to the handler.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The id that is in the logs, on the response and on the worker's side.
    pub id: RequestId,
    /// Who asks.
    pub caller: Caller,
    /// The form of errors this client reads.
    pub dialect: Dialect,
    /// What the path's parameters hold, percent-decoded.
    pub params: PathParams,
}

/// A request's id: the client's `X-Request-Id` when it is short and printable, else
/// made by the server (HTTP contract §1.5, KD-34).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes a checked id.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who asks, as the login gate found it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The peer's address as the socket has it.
    pub peer: SocketAddr,
    /// The name of the key used; `None` for a nameless key, roles, or no login.
    pub key: Option<Arc<str>>,
    /// What the key allows.
    pub scopes: Arc<Scopes>,
}

impl Caller {
    /// The peer's address without the port.
    pub fn ip(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }
}

/// How far the login of clients let somebody in who asks a route of
/// [`Access::Plugin`](crate::Access::Plugin): an extension of such a request.
///
/// The gate has taken out of the headers what it could use itself: [`KEY_HEADER`], and an
/// `Authorization` that holds a key of this server, so that no plugin can pass it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// By a key of this server.
    Key,
    /// By a role that a trusted proxy names.
    Role,
    /// Without a credential: the side has none, and this caller may come in all the same.
    Open,
    /// Not at all; the text says what to do.
    Refused(Arc<str>),
}

/// An extension of the answer to such a request: the plugin did not know the credential
/// that was shown, which counts as a failed login of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginRefused;

/// A key of this server, where `Authorization` is wanted for something else. If it is
/// there, it alone counts.
pub const KEY_HEADER: &str = "x-nfrx-key";

/// What a key allows. An empty list allows everything of its kind (decision 18).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Plugin ids the key may use.
    pub services: Vec<String>,
    /// Models the key may ask for.
    pub models: Vec<String>,
    /// Worker ids the key may register, or reach by a targeted route.
    pub workers: Vec<String>,
    /// Whether the key may drain, disconnect and cancel.
    pub admin: bool,
}

impl Scopes {
    /// Whether the key may use this plugin.
    pub fn allows_service(&self, id: &str) -> bool {
        Self::holds(&self.services, id)
    }

    /// Whether the key may ask for this model.
    pub fn allows_model(&self, model: &str) -> bool {
        Self::holds(&self.models, model)
    }

    /// Whether the key may register as, or reach, this worker.
    pub fn allows_worker(&self, id: &str) -> bool {
        Self::holds(&self.workers, id)
    }

    fn holds(list: &[String], item: &str) -> bool {
        list.is_empty() || list.iter().any(|entry| entry == item)
    }
}

/// The parameters of a path pattern, in its order.
#[derive(Debug, Clone, Default)]
pub struct PathParams(Vec<(Arc<str>, String)>);

impl PathParams {
    /// Takes names and percent-decoded values.
    pub fn new(params: Vec<(Arc<str>, String)>) -> Self {
        Self(params)
    }

    /// The value of a parameter; empty when the pattern has none of that name.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| **key == *name).map_or("", |(_, value)| value)
    }
}

/// A duplex byte stream, as an upgraded connection gives it.
pub trait Io: AsyncRead + AsyncWrite + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + 'static> Io for T {}

/// The right to take over the connection of a request that asked for an upgrade.
///
/// It is an extension of the request. The handler answers 101 (HTTP/1.1) and awaits
/// the stream in a task of its own; the stream is there once the 101 was sent.
#[derive(Clone)]
pub struct Upgrade(Arc<std::sync::Mutex<Option<UpgradeFuture>>>);

type UpgradeFuture = BoxFuture<'static, io::Result<Pin<Box<dyn Io>>>>;

impl Upgrade {
    /// Wraps the server's future of the upgraded stream.
    pub fn new(stream: BoxFuture<'static, io::Result<Pin<Box<dyn Io>>>>) -> Self {
        Self(Arc::new(std::sync::Mutex::new(Some(stream))))
    }

    /// The stream, for whoever asks first.
    pub async fn stream(self) -> io::Result<Pin<Box<dyn Io>>> {
        let taken = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match taken {
            Some(stream) => stream.await,
            None => Err(io::Error::other("the upgrade was taken already")),
        }
    }
}

/// Tells when the key that a connection came in with is good no longer. It is an extension
/// of requests that ask for an upgrade on a route of [`Access::Worker`](crate::Access::Worker)
/// with a named key.
///
/// A plugin that takes such a connection over ends it with its own goodbye
/// ([`CloseReason::Unauthorized`](crate::CloseReason::Unauthorized)); the server cuts what
/// still stands some seconds later.
#[derive(Clone)]
pub struct Revocation(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>);

impl Revocation {
    /// Wraps what gives a future that completes with the key's end.
    pub fn new(watch: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(watch))
    }

    /// Completes when the key is good no longer.
    pub fn happened(&self) -> BoxFuture<'static, ()> {
        (self.0)()
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revocation")
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrade")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_scope_allows_everything_but_admin() {
        let scopes = Scopes::default();
        assert!(scopes.allows_service("llm") && scopes.allows_model("m") && scopes.allows_worker("w"));
        assert!(!scopes.admin);
        let narrow = Scopes { models: vec!["phi".into()], ..Scopes::default() };
        assert!(narrow.allows_model("phi") && !narrow.allows_model("qwen"));
    }
}
