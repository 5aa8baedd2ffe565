//! An upload on its way in, read as far as it takes to know its model.
//!
//! A form that names its model before its file is read no further than to the file's
//! beginning, and goes on while its client still sends. One that names it behind the file
//! is read to its end: a little of it in memory, the rest in the spool.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use nfrx_spi::{ApiError, Body, BodyError};

use super::form::{Boundary, FormError, Scanner};
use super::spool::{Spool, SpoolError, SpoolFile, SpoolReader};

/// What is held in memory of an upload whose model is not known yet.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// A form that ends like that is not passed on as a whole one.
const UNENDED: FormError = FormError::Malformed("it ends before its last boundary");

/// When to come back if there is no room for an upload.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An upload whose model is known.
pub(super) struct Upload {
    pub(super) model: String,
    pub(super) streams: bool,
    /// Whether it names different models, of which the last one counts here.
    pub(super) is_torn: bool,
    /// All bytes as they came and come.
    pub(super) body: Body,
    /// What was found wrong with it on its way.
    pub(super) fault: Fault,
}

/// Why an upload can't be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    /// It broke off, or hit a bound of the front door.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// It is no good form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// It can't be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Body(BodyError::TooLarge { bytes_max }) => Self::TooLarge { bytes_max },
            IntakeError::Body(BodyError::IdleTimeout) => Self::RequestTimeout,
            IntakeError::Body(_) => Self::BadRequest("bad request".to_owned()),
            IntakeError::Form(error) => error.into(),
            IntakeError::Spool(SpoolError::TooLarge { bytes_max }) => Self::TooLarge { bytes_max },
            IntakeError::Spool(SpoolError::Full) => Self::WorkerBusy { retry_after: RETRY_AFTER },
            IntakeError::Spool(SpoolError::Io(error)) => {
                tracing::error!(%error, "uploads can't be spooled, look at the folder for them");
                Self::Internal
            }
        }
    }
}

impl From<FormError> for ApiError {
    /// HTTP contract §5.1: a form without a usable model is told so in two words.
    fn from(error: FormError) -> Self {
        match error {
            FormError::NoModel => Self::BadRequest("no model".to_owned()),
            FormError::TwoModels | FormError::Malformed(_) => {
                Self::BadRequest(format!("bad request: {error}"))
            }
        }
    }
}

/// What an upload's later part broke, told to whoever waits for its answer.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<OnceLock<FormError>>);

impl Fault {
    pub(super) fn error(&self) -> Option<FormError> {
        self.0.get().copied()
    }

    fn note(&self, error: FormError) -> BodyError {
        // Only the first one is set, and it is the one that broke the upload.
        let _ = self.0.set(error);
        BodyError::Aborted
    }
}

/// Reads `body` until its model is known.
pub(super) async fn read(body: Body, boundary: Boundary, spool: &Arc<Spool>) -> Result<Upload, IntakeError> {
    let mut intake =
        Intake { scanner: Scanner::new(boundary), held: Held::default(), file: None, late: false };
    let mut body = body;
    let mut ended = body.is_end_stream();
    while !ended && !intake.is_decided() {
        match body.frame().await {
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    intake.take(data, spool).await?;
                }
                ended = body.is_end_stream();
            }
            None => ended = true,
        }
    }
    intake.finish(body, ended).await
}

struct Intake {
    scanner: Scanner,
    held: Held,
    file: Option<SpoolFile>,
    /// Whether a file began before a model was named: then all of it is read, since the
    /// last model counts.
    late: bool,
}

#[derive(Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Intake {
    fn is_decided(&self) -> bool {
        let begun = self.scanner.has_file() || self.held.bytes > HELD_BYTES_MAX;
        !self.late && self.scanner.has_model() && begun
    }

    async fn take(&mut self, data: Bytes, spool: &Arc<Spool>) -> Result<(), IntakeError> {
        self.scanner.scan(&data)?;
        let begun = self.scanner.has_file() || self.held.bytes + data.len() > HELD_BYTES_MAX;
        self.late |= begun && !self.scanner.has_model();
        if let Some(file) = &mut self.file {
            return Ok(file.write(&data).await?);
        }
        self.held.bytes += data.len();
        self.held.pieces.push_back(data);
        if self.late && self.held.bytes > HELD_BYTES_MAX {
            let mut file = spool.open().await?;
            while let Some(piece) = self.held.pieces.pop_front() {
                file.write(&piece).await?;
            }
            self.file = Some(file);
        }
        Ok(())
    }

    async fn finish(mut self, rest: Body, ended: bool) -> Result<Upload, IntakeError> {
        if ended && !self.scanner.is_over() {
            return Err(FormError::NoModel.into());
        }
        let model = self.scanner.settle()?;
        let (streams, is_torn) = (self.scanner.streams(), self.scanner.is_torn());
        let fault = Fault::default();
        let body = match (self.file, ended) {
            (Some(file), _) => {
                let reader = file.into_reader().await?;
                Body::stream(Passing { held: VecDeque::new(), source: Source::Spool(reader) })
            }
            (None, true) => Body::from(joined(self.held)),
            (None, false) => {
                let (scanner, fault) = (Box::new(self.scanner), fault.clone());
                Body::stream(Passing {
                    held: self.held.pieces,
                    source: Source::Client { rest, scanner, fault },
                })
            }
        };
        Ok(Upload { model, streams, is_torn, body, fault })
    }
}

/// One piece of several: such a body can be sent to another worker if one fails.
fn joined(held: Held) -> Bytes {
    let mut pieces = held.pieces;
    if pieces.len() == 1 {
        return pieces.pop_front().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(held.bytes);
    pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
    whole.freeze()
}

/// An upload on its way to a worker: what was read already, then the rest.
struct Passing {
    held: VecDeque<Bytes>,
    source: Source,
}

enum Source {
    /// Judged piece by piece before it is passed on: a form that turns out to name another
    /// model never reaches the worker whole.
    Client {
        rest: Body,
        scanner: Box<Scanner>,
        fault: Fault,
    },
    Spool(SpoolReader),
}

impl Source {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let (rest, scanner, fault) = match self {
            Self::Spool(reader) => return reader.poll_piece(cx).map_err(BodyError::Io),
            Self::Client { rest, scanner, fault } => (rest, scanner, fault),
        };
        loop {
            let Some(frame) = ready!(Pin::new(&mut *rest).poll_frame(cx)) else {
                let end = if scanner.is_over() { Ok(()) } else { Err(UNENDED) };
                return Poll::Ready(end.err().map(|error| Err(fault.note(error))));
            };
            // A form has no trailers; hyper gives what a client sends there all the same.
            let Ok(data) = frame?.into_data() else { continue };
            return Poll::Ready(Some(match scanner.scan(&data) {
                Ok(()) => Ok(data),
                Err(error) => Err(fault.note(error)),
            }));
        }
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(piece) = self.held.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.source.poll_piece(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        let over = match &self.source {
            // Also one that ends like that is polled, to be judged.
            Source::Client { rest, scanner, .. } => rest.is_end_stream() && scanner.is_over(),
            Source::Spool(reader) => reader.left() == 0,
        };
        over && self.held.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let rest = match &self.source {
            Source::Client { rest, .. } => rest.size_hint().exact(),
            Source::Spool(reader) => Some(reader.left()),
        };
        rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(held + rest))
    }
}

#[cfg(test)]
mod tests;
