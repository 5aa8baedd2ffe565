//! What a request is passed on to: one private server, however it is reached.

use http::{Request, Response};
use nfrx_spi::{Body, BoxFuture, CallError};

/// One private server.
///
/// A request's path is what stands behind the server's public address, `/` for the address
/// itself; its query is the client's. Headers are as the relay passed them on: the upstream
/// takes out what is not for its server.
pub(crate) trait Upstream: Send + Sync + 'static {
    /// Answers one request. Dropping the future, or the body of the answer, cancels it.
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>>;

    /// Whether the server can be reached, or why not, for the agent's own operator.
    fn probe(&self) -> BoxFuture<'_, Result<(), String>>;

    /// The last lines that it wrote to its standard error, the newest last; `None` for a
    /// server that is no process of this agent's.
    fn last_words(&self) -> Option<Vec<String>> {
        None
    }
}
