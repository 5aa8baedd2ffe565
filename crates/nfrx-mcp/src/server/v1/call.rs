//! One request on its way to an old agent: what can be carried becomes frames, the rest is
//! answered here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use nfrx_spi::{Body, BodyError, BoxFuture, CallError, Clock, CloseReason, Moment, Tunnel};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use crate::message::{Glance, Kind};
use crate::server::failure::Failure;
use crate::v1::{FRAME_BYTES_MAX, Frame};

/// Where an answer goes.
pub(super) type Answered = oneshot::Sender<Result<String, Failure>>;

/// A call that is ready to be sent.
pub(super) struct Call {
    /// Its id on the wire.
    pub(super) sid: String,
    /// The frame that opens it.
    pub(super) open: String,
    /// The frame with the message.
    pub(super) message: String,
    /// Where the answer goes; dropped when the caller left.
    pub(super) answer: Answered,
}

/// A random id of the form that old agents know.
pub(super) fn new_id() -> String {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid().to_string()
}

/// When something came last.
pub(super) struct Seen {
    clock: Arc<dyn Clock>,
    at: Mutex<Moment>,
}

impl Seen {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let at = Mutex::new(clock.now());
        Self { clock, at }
    }

    pub(super) fn now(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
    }

    fn at(&self) -> Moment {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn silence(&self) -> Duration {
        self.clock.now().since(self.at())
    }
}

/// An old agent as the registry sees it.
pub(super) struct OldTunnel {
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) orders: watch::Sender<Option<CloseReason>>,
    pub(super) seen: Arc<Seen>,
}

impl Tunnel for OldTunnel {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let calls = self.calls.clone();
        Box::pin(async move {
            let (sid, open, message) = match carried(request).await? {
                Carried::Frames { sid, open, message } => (sid, open, message),
                Carried::Taken => return Ok(taken()),
                Carried::Not(failure) => return Ok(failed(failure)),
            };
            let (answer, answered) = oneshot::channel();
            calls.send(Call { sid, open, message, answer }).await.map_err(|_| CallError::Lost)?;
            Ok(match answered.await.map_err(|_| CallError::Lost)? {
                Ok(payload) => json(payload),
                Err(failure) => failed(failure),
            })
        })
    }

    fn last_seen(&self) -> Moment {
        self.seen.at()
    }

    fn round_trip(&self) -> Option<Duration> {
        None
    }

    fn carrier(&self) -> &'static str {
        super::CARRIER
    }

    /// There is no frame that tells an old agent to go elsewhere.
    fn drain(&self) {}

    fn close(&self, reason: CloseReason) {
        self.orders.send_modify(|order| *order = order.or(Some(reason)));
    }
}

/// What becomes of a request.
enum Carried {
    Frames {
        sid: String,
        open: String,
        message: String,
    },
    /// A notification: there is no frame for it, and its sender expects no answer (KD-122).
    Taken,
    Not(Failure),
}

async fn carried(request: Request<Body>) -> Result<Carried, CallError> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Ok(Carried::Not(Failure::NotCarried));
    }
    let too_large = CallError::TooLarge { bytes_max: FRAME_BYTES_MAX as u64 };
    let body = match Limited::new(body, FRAME_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<BodyError>() => return Err(CallError::RequestBody),
        Err(_) => return Err(too_large),
    };
    let Ok(payload) = serde_json::from_slice::<&RawValue>(&body) else {
        return Ok(Carried::Not(Failure::Schema));
    };
    let glance = Glance::at(&body, true);
    match glance.kind {
        Kind::Notification | Kind::Response => return Ok(Carried::Taken),
        Kind::Request if glance.id.as_deref() != Some("null") => {}
        Kind::Request | Kind::Batch | Kind::Other => return Ok(Carried::Not(Failure::Schema)),
    }
    let sid = new_id();
    let open = Frame {
        req_id: new_id(),
        hint: glance.method.unwrap_or_default(),
        auth: bearer(&head.headers).unwrap_or_default(),
        ..Frame::of("open", &sid)
    };
    let (open, message) = (open.text(), Frame::of("rpc", &sid).with(payload).text());
    // One byte more would end the agent, and everybody's calls with it (KD-121).
    if message.len() > FRAME_BYTES_MAX || open.len() > FRAME_BYTES_MAX {
        return Err(too_large);
    }
    Ok(Carried::Frames { sid, open, message })
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case("bearer ").then(|| token.trim().to_owned())
}

fn taken() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn json(payload: String) -> Response<Body> {
    let mut response = Response::new(Body::from(payload));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A failure that is no failure of the tunnel: the relay writes it as it writes its own.
fn failed(failure: Failure) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = failure.status();
    response.extensions_mut().insert(failure);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(method: &str, body: &str) -> Result<Carried, CallError> {
        let request = Request::builder().method(method).header("authorization", "bearer  t ");
        carried(request.body(Body::from(body.to_owned())).expect("valid")).await
    }

    // Seen to fail: with the limit one byte higher.
    #[tokio::test]
    async fn what_one_frame_carries_is_carried_and_not_a_byte_more() {
        let with = |length: usize| format!(r#"{{"id":7,"method":"ping","x":"{}"}}"#, "y".repeat(length));
        let around = match of("POST", &with(0)).await.expect("short") {
            Carried::Frames { message, .. } => message.len(),
            Carried::Taken | Carried::Not(_) => panic!("it is a request"),
        };
        let fits = FRAME_BYTES_MAX - around;
        let Ok(Carried::Frames { open, message, .. }) = of("POST", &with(fits)).await else {
            panic!("it fits")
        };
        assert_eq!(message.len(), 32_768);
        assert!(open.contains(r#""hint":"ping""#) && open.contains(r#""auth":"t""#), "{open}");
        assert!(matches!(of("POST", &with(fits + 1)).await, Err(CallError::TooLarge { bytes_max: 32_768 })));
    }

    #[tokio::test]
    async fn what_no_frame_carries_gets_an_answer_that_says_so() {
        for (method, body, expected) in [
            ("GET", "", Some(Failure::NotCarried)),
            ("DELETE", "", Some(Failure::NotCarried)),
            ("POST", "[]", Some(Failure::Schema)),
            ("POST", "{", Some(Failure::Schema)),
            ("POST", r#"{"id":null,"method":"ping"}"#, Some(Failure::Schema)),
            ("POST", r#"{"method":"notifications/initialized"}"#, None),
            ("POST", r#"{"id":1,"result":{}}"#, None),
        ] {
            let found = match of(method, body).await.expect("judged") {
                Carried::Not(failure) => Some(failure),
                Carried::Taken => None,
                Carried::Frames { .. } => panic!("`{method} {body}` was carried"),
            };
            assert_eq!(found, expected, "{method} {body}");
        }
    }
}
