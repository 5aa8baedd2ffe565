//! One connection and the request that is on it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::ClientError;
use super::connect::Stream;
use super::idle::IdleTimer;
use super::quiet::Quiet;
use super::upload::{Progress, Upload};

/// Bounds an answer's head and the bytes read at once.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// A connection, driven by whoever holds it; dropping it closes the socket.
pub(crate) struct Live {
    /// `None` once it has ended.
    connection: Option<Connection<TokioIo<Stream>, Upload>>,
    sender: SendRequest<Upload>,
    quiet: Quiet,
}

/// Why no head came.
pub(crate) enum HeadError {
    /// The connection was closed before anything of the request was written.
    Unsent(Box<Request<Upload>>),
    /// Anything else.
    Failed(ClientError),
}

impl Live {
    pub(crate) async fn open(stream: Stream) -> Result<Self, ClientError> {
        let (sender, connection) =
            Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
        Ok(Self { connection: Some(connection), sender, quiet: Quiet::new() })
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn head(
        &mut self,
        request: Request<Upload>,
        progress: &Progress,
        timer: &mut IdleTimer,
    ) -> Result<Response<Incoming>, HeadError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            let answered = self.drive(cx, |cx| answer.as_mut().poll(cx));
            match answered {
                Poll::Ready(Ok(head)) => {
                    timer.touch();
                    Poll::Ready(Ok(head))
                }
                Poll::Ready(Err(mut error)) => Poll::Ready(Err(match error.take_message() {
                    Some(unsent) => HeadError::Unsent(Box::new(unsent)),
                    None => HeadError::Failed(error.into_error().into()),
                })),
                Poll::Pending => {
                    timer.poll_expired(progress, cx).map(|()| Err(HeadError::Failed(ClientError::Silent)))
                }
            }
        })
        .await
    }

    /// Moves bytes both ways until `take` finds something in them.
    pub(crate) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Self { connection, quiet, .. } = self;
        let given = quiet.work(cx, |cx| {
            // Asking first tells the connection that its next chunk is wanted.
            if let Poll::Ready(taken) = take(cx) {
                return Some(taken);
            }
            advance(connection, cx);
            match take(cx) {
                Poll::Ready(taken) => Some(taken),
                Poll::Pending => None,
            }
        });
        given.map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether the connection can take a request: it is idle and the backend keeps it.
    pub(crate) fn settle(&mut self) -> bool {
        // With no waker, a kept connection holds on to no finished task.
        advance(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

fn advance(connection: &mut Option<Connection<TokioIo<Stream>, Upload>>, cx: &mut Context<'_>) {
    let Some(running) = connection else { return };
    // The outcome, good or bad, also reaches the answer's head or body. A request that
    // was not taken yet comes back when the connection is dropped.
    if Pin::new(running).poll(cx).is_ready() {
        *connection = None;
    }
}
