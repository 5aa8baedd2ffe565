//! One chunk at one worker: sent, its answer read whole, or why not.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body as _;
use nfrx_spi::{Body, BodyError, CallError, PartitionError, WorkerRef};

use super::super::error::{body_code, status_code};
use super::super::idle::IdleWatch;
use super::super::{DispatchError, Limits};
use super::is_clients_fault;
use super::pending::Piece;
use crate::slot::Slot;

/// A chunk that ended, and the slot it was on.
pub(super) struct Chunk {
    pub(super) slot: Slot,
    pub(super) piece: Piece,
    pub(super) took: Duration,
    pub(super) outcome: Result<Bytes, Failure>,
}

/// Why a chunk failed.
pub(super) enum Failure {
    Call(CallError),
    /// Silence for longer than the limits allow.
    Timeout,
    /// A status from 400 on, with its body.
    Status(Box<Response<Body>>),
    /// The answer broke off.
    Broken(BodyError),
    /// The answers together are more than is held.
    TooLarge,
    /// The answer is not what was asked.
    Merge(PartitionError),
}

impl Failure {
    /// Whether the client's request is at fault: every worker would say the same.
    pub(super) fn is_clients(&self) -> bool {
        matches!(self, Self::Status(answer) if is_clients_fault(answer.status()))
    }

    /// Whether another worker may do better. A chunk has no effect but its answer, so
    /// that even one that broke off may be asked again.
    pub(super) fn may_retry(&self) -> bool {
        match self {
            Self::Call(error) => {
                !matches!(error, CallError::RequestBody | CallError::TooLarge { .. } | CallError::Refused)
            }
            Self::Timeout | Self::Status(_) | Self::Broken(_) | Self::Merge(_) => true,
            Self::TooLarge => false,
        }
    }

    /// The code in metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Status(answer) => status_code(answer.status()),
            Self::Broken(error) => body_code(error).unwrap_or("closed"),
            other => other.as_error().code(),
        }
    }

    /// What is said of it when nothing better is known.
    pub(super) fn as_error(&self) -> DispatchError {
        match self {
            Self::Call(error) => DispatchError::Call(*error),
            Self::Timeout | Self::Broken(BodyError::IdleTimeout) => DispatchError::Timeout,
            Self::TooLarge => DispatchError::AnswerTooLarge,
            Self::Merge(error) => DispatchError::Part(*error),
            Self::Status(_) | Self::Broken(_) => DispatchError::Call(CallError::Upstream),
        }
    }
}

/// Sends a chunk and reads its answer, of at most `bytes_max` bytes.
pub(super) async fn run_chunk(
    slot: Slot,
    piece: Piece,
    request: Request<Body>,
    limits: Limits,
    bytes_max: usize,
) -> Chunk {
    let began = slot.pool().config.clock.now();
    let mut idle = IdleWatch::new(&slot, limits, None);
    let outcome = match idle.first(slot.worker().call(request)).await {
        Some(Ok(response)) => whole(response, &mut idle, bytes_max).await,
        Some(Err(error)) => Err(Failure::Call(error)),
        None => Err(Failure::Timeout),
    };
    let took = slot.pool().config.clock.now().since(began);
    Chunk { slot, piece, took, outcome }
}

async fn whole(response: Response<Body>, idle: &mut IdleWatch, bytes_max: usize) -> Result<Bytes, Failure> {
    let (head, mut body) = response.into_parts();
    let mut read = BytesMut::new();
    poll_fn(|cx| poll_whole(&mut body, &mut read, idle, bytes_max, cx)).await?;
    let read = read.freeze();
    if head.status.is_client_error() || head.status.is_server_error() {
        return Err(Failure::Status(Box::new(Response::from_parts(head, Body::from(read)))));
    }
    Ok(read)
}

fn poll_whole(
    body: &mut Body,
    read: &mut BytesMut,
    idle: &mut IdleWatch,
    bytes_max: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Failure>> {
    loop {
        let frame = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return idle.poll_over(cx).map(|()| Err(Failure::Timeout)),
        };
        idle.heard();
        let Some(frame) = frame.transpose().map_err(Failure::Broken)? else { return Poll::Ready(Ok(())) };
        if let Ok(data) = frame.into_data() {
            if data.len() > bytes_max - read.len() {
                return Poll::Ready(Err(Failure::TooLarge));
            }
            read.extend_from_slice(&data);
        }
    }
}
