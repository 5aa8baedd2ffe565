//! The routes of channels (transfer contract §1, §6).

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use nfrx_spi::{Access, Body, Dialect, HandlerResult, Operation, RequestContext, Router};

use super::channel::{Channel, NoPlace, Piece, Reader};
use super::pass::{NotPassed, Passage, ReaderBody};
use super::{ChannelState, Transfers};
use crate::answer::{Failure, json, refuse};
use crate::http::schemas;

/// What the writer said its bytes are: the answer's own type stays (KD-108).
const X_TRANSFER_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-transfer-content-type");

impl Transfers {
    /// Adds `/api/transfer` with its routes.
    pub(crate) fn register(&self, router: &mut Router) {
        router.mount("/api/transfer", |root| {
            root.access(Access::Either).dialect(Dialect::Json).body_bytes_max(u64::MAX).guard();
            for pattern in ["", "/"] {
                let own = self.clone();
                root.post(pattern, move |_: Request<Body>, context: RequestContext| {
                    std::future::ready(Ok(own.make(&context)))
                })
                .operation(schemas::transfer());
            }
            let own = self.clone();
            root.get("/{channel_id}", move |_: Request<Body>, context| own.clone().read(context))
                .to_the_end()
                .operation(Operation {
                    summary: "Reads what the channel's writer sends",
                    response_type: Some("application/octet-stream"),
                    ..Operation::default()
                });
            let own = self.clone();
            root.post("/{channel_id}", move |request, context| own.clone().write(request, context))
                .to_the_end()
                .own_silence()
                .operation(Operation {
                    summary: "Writes what the channel's reader gets",
                    request: Some(serde_json::json!({})),
                    request_type: Some("application/octet-stream"),
                    response: Some(serde_json::json!({ "type": "object", "required": ["status"] })),
                    ..Operation::default()
                });
        });
    }

    fn make(&self, context: &RequestContext) -> Response<Body> {
        let owner = context.caller.key.as_deref().map(str::to_owned);
        match self.open(owner, None) {
            Some((id, expires_at)) => {
                let made = serde_json::json!({ "channel_id": id, "expires_at": expires_at.to_string() });
                json(StatusCode::OK, &made)
            }
            None => refuse(StatusCode::SERVICE_UNAVAILABLE, "too_many_channels"),
        }
    }

    fn find(&self, context: &RequestContext) -> Option<Arc<Channel>> {
        let channel = self.lock().by_id.get(context.params.get("channel_id")).cloned()?;
        channel.expire(self.shared.clock.now());
        let key = context.caller.key.as_deref().filter(|_| !context.caller.scopes.admin);
        channel.is_open_to(key).then_some(channel)
    }

    async fn read(self, context: RequestContext) -> HandlerResult {
        let Some(channel) = self.find(&context) else { return Ok(not_found()) };
        let reader = match channel.read() {
            Ok(reader) => reader,
            Err(refused) => return Ok(no_place(refused)),
        };
        Ok(self.answer(&channel, reader).await)
    }

    /// Waits for the first byte, and answers with it.
    async fn answer(&self, channel: &Channel, mut reader: Reader) -> Response<Body> {
        let head = tokio::select! {
            biased;
            piece = reader.pieces.recv() => piece,
            state = channel.over() => return over(state),
            () = self.until(channel.expires()), if channel.state() == ChannelState::Open => {
                channel.expire(self.shared.clock.now());
                match channel.state() {
                    ChannelState::Joined => reader.pieces.recv().await,
                    state => return over(state),
                }
            }
        };
        let Some(Piece::Head { kind, length }) = head else {
            return match channel.state() {
                ChannelState::Open | ChannelState::Joined | ChannelState::Failed => failed(),
                state => over(state),
            };
        };
        let mut response = match reader.pieces.recv().await {
            Some(Piece::Data(first)) => Response::new(Body::stream(ReaderBody::new(reader, first, length))),
            Some(Piece::End(taken)) => {
                reader.receipt.sign();
                let _ = taken.send(());
                Response::new(Body::empty())
            }
            Some(Piece::Head { .. }) | None => return failed(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(kind) = kind {
            headers.insert(X_TRANSFER_CONTENT_TYPE, kind);
        }
        response
    }

    async fn write(self, request: Request<Body>, context: RequestContext) -> HandlerResult {
        let Some(channel) = self.find(&context) else { return Ok(not_found()) };
        let writer = match channel.write() {
            Ok(writer) => writer,
            Err(refused) => return Ok(no_place(refused)),
        };
        let (parts, body) = request.into_parts();
        let passed = Passage::new(&self, &channel, body).run(writer, &parts.headers).await;
        self.ended(&channel);
        Ok(match passed {
            Ok(()) => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
            Err(NotPassed::Over(state)) => over(state),
            Err(NotPassed::NoRoom) => Failure::NoRoom.response(),
            Err(NotPassed::Failed) => failed(),
        })
    }

    /// Counts a channel that had its writer.
    pub(super) fn ended(&self, channel: &Channel) {
        self.shared.metrics.transfers.with([channel.state().as_str()]).inc();
    }

    /// Completes at this moment.
    pub(super) async fn until(&self, moment: nfrx_spi::Moment) {
        let clock = &self.shared.clock;
        clock.sleep(moment.since(clock.now())).await;
    }

    /// Completes when nothing moved for too long.
    pub(super) async fn idle(&self) {
        match self.shared.idle_max {
            Some(idle_max) => self.shared.clock.sleep(idle_max).await,
            None => std::future::pending().await,
        }
    }
}

fn not_found() -> Response<Body> {
    refuse(StatusCode::NOT_FOUND, "transfer_not_found")
}

fn failed() -> Response<Body> {
    refuse(StatusCode::BAD_GATEWAY, "transfer_failed")
}

fn no_place(refused: NoPlace) -> Response<Body> {
    match refused {
        NoPlace::InUse => refuse(StatusCode::CONFLICT, "transfer_in_use"),
        NoPlace::Over(state) => over(state),
    }
}

/// A channel that is over: too late is 410, used up is 404 (KD-109).
fn over(state: ChannelState) -> Response<Body> {
    match state {
        ChannelState::Expired => refuse(StatusCode::GONE, "transfer_expired"),
        ChannelState::Closed => refuse(StatusCode::GONE, "transfer_closed"),
        ChannelState::Open | ChannelState::Joined | ChannelState::Done | ChannelState::Failed => not_found(),
    }
}
