//! What a tunnel hands its requests to.

use http::{Request, Response};
use nfrx_spi::{Body, BoxFuture, CallError};

/// Answers the requests of a tunnel.
pub trait AgentService: Send + Sync + 'static {
    /// Answers one request. Dropping the future, or the body of the answer, cancels it.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>>;
}
