//! The agent's HTTP client: one backend, kept connections, no redirects, no proxies.
//!
//! It has no task. A request *owns* its connection: whoever waits for the head or reads
//! the body drives the connection in the same poll. So dropping the future or the body
//! closes the socket there and then, which is how a backend learns of a cancel in every
//! phase, and no task needs an owner. Measured against hyper-util's pooled client, which
//! has a task per connection: the same CPU per request and per chunk, within the noise.

mod answer;
mod connect;
mod error;
mod get;
mod idle;
mod live;
mod pool;
mod quiet;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use nfrx_spi::Body;

pub(crate) use answer::AnswerBody;
pub use connect::{Connector, Stream, TcpConnector};
pub use error::ClientError;
pub use get::{GetError, Reply};

use idle::IdleTimer;
use live::Live;
use pool::Pool;
use upload::{Progress, Upload};

use crate::BaseUrl;

/// A backend that does not accept a connection within this time can't be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a backend may be silent about one request; `None` for ever. An upload that
/// moves is no silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Silence {
    /// Before the head of its answer.
    pub head: Option<Duration>,
    /// Between two reads of its answer's body.
    pub body: Option<Duration>,
}

/// Speaks HTTP/1.1 to one backend. Clones share its connections.
#[derive(Clone)]
pub struct BackendClient {
    shared: Arc<Shared>,
}

struct Shared {
    base: BaseUrl,
    host: HeaderValue,
    connector: Arc<dyn Connector>,
    idle_limit: Option<Duration>,
    pool: Arc<Pool>,
}

impl BackendClient {
    /// A client of the backend at `base`. `idle_limit` bounds the backend's silence,
    /// before the head and between reads (KD-9); `None` for no limit.
    pub fn new(base: BaseUrl, idle_limit: Option<Duration>) -> Result<Self, ClientError> {
        let connector = TcpConnector::new(&base)?;
        Self::with_connector(base, Arc::new(connector), idle_limit)
    }

    /// The same over connections that somebody else makes.
    pub fn with_connector(
        base: BaseUrl,
        connector: Arc<dyn Connector>,
        idle_limit: Option<Duration>,
    ) -> Result<Self, ClientError> {
        let host = HeaderValue::try_from(base.authority()).map_err(|_| ClientError::Request)?;
        let shared = Shared { base, host, connector, idle_limit, pool: Arc::new(Pool::new()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The backend's address.
    pub fn base(&self) -> &BaseUrl {
        &self.shared.base
    }

    /// Sends a request and gives the head of the answer; the body streams. Redirects are
    /// answers like any other.
    ///
    /// The URI's path and query are the request's target as they are; `Host` and the
    /// framing headers are set here. Dropping the future, or the body before its end,
    /// closes the connection.
    pub async fn ask(&self, request: Request<Body>, silence: Silence) -> Result<Response<Body>, ClientError> {
        let answer = self.exchange_once(request, silence).await?;
        Ok(answer.map(|body| match http_body::Body::is_end_stream(&body) {
            true => Body::empty(),
            false => Body::stream(body),
        }))
    }

    /// Whether a connection can be made, TLS included. Nothing is said on it.
    pub async fn reach(&self) -> Result<(), ClientError> {
        self.sweep();
        self.shared.open().await.map(drop)
    }

    /// Sends a request and gives the head of the answer; the body streams.
    ///
    /// The URI's path and query are the request's target as they are: the caller has
    /// joined them to the base. `Host` and the framing headers are set here.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, ClientError> {
        let limit = self.shared.idle_limit;
        self.exchange_once(request, Silence { head: limit, body: limit }).await
    }

    async fn exchange_once(
        &self,
        request: Request<Body>,
        silence: Silence,
    ) -> Result<Response<AnswerBody>, ClientError> {
        let shared = &self.shared;
        let progress = Arc::new(Progress::new());
        let mut request = shared.prepare(request, &progress)?;
        let mut timer = IdleTimer::new(silence.head);
        if let Some(live) = shared.pool.take() {
            match Self::exchange(live, request, &progress, &mut timer).await {
                // The backend closed the kept connection in the meantime. Nothing of the
                // request was written, so that a fresh connection is no second try.
                Exchange::Unsent(unsent) => request = *unsent,
                Exchange::Answered(answer) => return Ok(shared.answer(answer, silence, progress)),
                Exchange::Failed(error) => return Err(error),
            }
        }
        let live = shared.open().await?;
        timer.touch();
        match Self::exchange(live, request, &progress, &mut timer).await {
            Exchange::Answered(answer) => Ok(shared.answer(answer, silence, progress)),
            Exchange::Unsent(_) => Err(ClientError::Broken),
            Exchange::Failed(error) => Err(error),
        }
    }

    /// Closes kept connections that the backend has closed or that are old.
    fn sweep(&self) {
        self.shared.pool.sweep();
    }

    async fn exchange(
        mut live: Box<Live>,
        request: Request<Upload>,
        progress: &Progress,
        timer: &mut IdleTimer,
    ) -> Exchange {
        match live.head(request, progress, timer).await {
            Ok(head) => match checked(head) {
                Some(head) => Exchange::Answered((live, head)),
                None => Exchange::Failed(ClientError::Broken),
            },
            Err(live::HeadError::Unsent(unsent)) => Exchange::Unsent(unsent),
            Err(live::HeadError::Failed(error)) => Exchange::Failed(error),
        }
    }
}

type Answered = (Box<Live>, Response<hyper::body::Incoming>);

enum Exchange {
    Answered(Answered),
    Unsent(Box<Request<Upload>>),
    Failed(ClientError),
}

impl Shared {
    /// Sets the headers that belong to this connection and no other.
    fn prepare(
        &self,
        request: Request<Body>,
        progress: &Arc<Progress>,
    ) -> Result<Request<Upload>, ClientError> {
        let (mut parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().ok_or(ClientError::Request)?;
        parts.uri = Uri::from(target.clone());
        parts.version = http::Version::HTTP_11;
        let declared = declared_length(&parts.headers)?;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRANSFER_ENCODING);
        parts.headers.insert(header::HOST, self.host.clone());
        let body = Upload::new(body, declared, progress)?;
        if http_body::Body::is_end_stream(&body) && takes_body(&parts.method) {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(Request::from_parts(parts, body))
    }

    async fn open(&self) -> Result<Box<Live>, ClientError> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connector.connect());
        let stream = match connecting.await {
            Ok(connected) => connected.map_err(ClientError::Connect)?,
            Err(_late) => return Err(ClientError::Connect(std::io::ErrorKind::TimedOut.into())),
        };
        Live::open(stream).await.map(Box::new)
    }

    fn answer(
        &self,
        (live, head): Answered,
        silence: Silence,
        progress: Arc<Progress>,
    ) -> Response<AnswerBody> {
        let timer = IdleTimer::new(silence.body);
        head.map(|incoming| AnswerBody::new(live, incoming, timer, progress, Arc::clone(&self.pool)))
    }
}

/// An answer whose framing can be trusted, or `None`.
fn checked(mut head: Response<hyper::body::Incoming>) -> Option<Response<hyper::body::Incoming>> {
    // Nobody asked for an upgrade.
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    if let Some(coding) = head.headers().get(header::TRANSFER_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return None;
        }
        // Both framings at once: the chunks are what was read, the length is a claim.
        head.headers_mut().remove(header::CONTENT_LENGTH);
    }
    Some(head)
}

fn declared_length(headers: &http::HeaderMap) -> Result<Option<u64>, ClientError> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(ClientError::Request),
    }
}

fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
