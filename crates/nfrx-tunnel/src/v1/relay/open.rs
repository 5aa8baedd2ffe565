//! The requests that an agent has, and what has come of their answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use nfrx_spi::metrics::Gauge;
use nfrx_spi::{Body, BodyError, CallError};
use tokio::sync::oneshot;

use super::super::UNREAD_BYTES_MAX;
use super::super::frame::{self, FrameError};
use super::call::Call;
use crate::counters::{Counted, TunnelCounters};
use crate::headers;
use crate::relay::Parts;
use crate::relay::stream::{Buffer, End, Filling, StreamBody};

/// What may come of an answer before it is told: see [`Stage::Held`].
const HELD_BYTES_MAX: usize = 64 * 1024;

/// All requests of one tunnel.
pub(super) struct OpenRequests {
    parts: Arc<Parts>,
    requests: HashMap<Arc<str>, Open>,
}

struct Open {
    stage: Stage,
    _counted: Counted<fn(&TunnelCounters) -> &Gauge>,
}

type AnswerTo = oneshot::Sender<Result<Response<Body>, CallError>>;

enum Stage {
    Asked(AnswerTo),
    /// A head that may turn out to be a failure: v1 agents write "I drain" and "my backend
    /// is away" as an answer of 502 to 504, and only its end tells it from a backend's own.
    Held {
        answer: AnswerTo,
        head: Response<()>,
        bytes: BytesMut,
    },
    Answering {
        buffer: Filling,
        left: Option<u64>,
    },
}

impl OpenRequests {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self { parts, requests: HashMap::new() }
    }

    /// Takes a request that is about to be sent, and gives its message.
    pub(super) fn add(&mut self, call: Call) -> String {
        let counted: Counted<fn(&TunnelCounters) -> &Gauge> =
            Counted::new(&self.parts.counters, |counters| &counters.streams_open);
        self.requests.insert(call.id, Open { stage: Stage::Asked(call.answer), _counted: counted });
        call.message.into_text()
    }

    /// Whether somebody waits for it.
    pub(super) fn has(&self, id: &str) -> bool {
        self.requests.contains_key(id)
    }

    /// Nobody wants this answer any more. Tells whether the agent still works on it.
    pub(super) fn forget(&mut self, id: &str) -> bool {
        self.requests.remove(id).is_some()
    }

    /// The head of an answer came. Tells whether the request dies of it.
    pub(super) fn head(&mut self, id: &str, status: u16, map: Option<BTreeMap<String, String>>) -> bool {
        let Some(open) = self.requests.remove(id) else { return false };
        let Open { stage: Stage::Asked(answer), _counted } = open else {
            // Twice: the rest of it means nothing, and what has begun breaks off.
            return true;
        };
        let Some(head) = head(status, map) else {
            let _ = answer.send(Err(CallError::Upstream));
            return true;
        };
        let stage = match status {
            502..=504 => Stage::Held { answer, head, bytes: BytesMut::new() },
            _ => match self.begin(answer, head, Bytes::new()) {
                Some(stage) => stage,
                None => return true,
            },
        };
        self.requests.insert(Arc::from(id), Open { stage, _counted });
        false
    }

    /// Bytes of an answer came, in base64. Tells whether the request dies of it.
    pub(super) fn chunk(&mut self, id: &str, data: &str) -> bool {
        let Some(open) = self.requests.get_mut(id) else { return false };
        let counters = &self.parts.counters;
        let dies = match (frame::bytes(data), &mut open.stage) {
            (Some(bytes), Stage::Answering { buffer, left }) => {
                counters.bytes_in.add(bytes.len() as u64);
                let fits = left.as_mut().is_none_or(|left| match left.checked_sub(bytes.len() as u64) {
                    Some(rest) => {
                        *left = rest;
                        true
                    }
                    None => false,
                });
                if !fits {
                    // More than its own head announced (KD-68).
                    buffer.end(End::Broken(BodyError::Upstream));
                } else if buffer.unread() + bytes.len() > UNREAD_BYTES_MAX {
                    counters.readers_stalled.inc();
                    buffer.end(End::Broken(BodyError::ReaderStalled));
                } else if buffer.push(bytes.into()) {
                    return false;
                } else {
                    counters.over_budget.inc();
                }
                true
            }
            (Some(bytes), Stage::Held { bytes: held, .. }) if held.len() + bytes.len() <= HELD_BYTES_MAX => {
                held.extend_from_slice(&bytes);
                return false;
            }
            (Some(bytes), Stage::Held { .. }) => return self.release(id, &bytes),
            (None, Stage::Answering { buffer, .. }) => {
                buffer.end(End::Broken(BodyError::Upstream));
                true
            }
            (_, Stage::Asked(_)) | (None, Stage::Held { .. }) => true,
        };
        if let Some(Open { stage: Stage::Asked(answer) | Stage::Held { answer, .. }, .. }) =
            self.requests.remove(id)
        {
            // Bytes before a head, or none at all: no answer of a backend.
            let _ = answer.send(Err(CallError::Upstream));
        }
        dies
    }

    /// An answer ended. Nothing more is said of this request.
    pub(super) fn end(&mut self, id: &str, error: Option<FrameError>) {
        let Some(Open { stage, _counted }) = self.requests.remove(id) else { return };
        let error = error.map(|error| CallError::from_code(&error.code));
        match (stage, error) {
            (Stage::Asked(answer) | Stage::Held { answer, .. }, Some(error)) => {
                let _ = answer.send(Err(error));
            }
            // No head and no error: an answer must not look whole that never was one.
            (Stage::Asked(answer), None) => {
                let _ = answer.send(Err(CallError::Upstream));
            }
            (Stage::Held { answer, head, bytes }, None) => {
                let _ = answer.send(Ok(head.map(|()| Body::from(bytes.freeze()))));
            }
            (Stage::Answering { buffer, left }, error) => buffer.end(match error {
                None if left.is_none_or(|left| left == 0) => End::Whole,
                Some(CallError::Timeout) => End::Broken(BodyError::IdleTimeout),
                _ => End::Broken(BodyError::Upstream),
            }),
        }
    }

    /// Cuts answers whose readers take nothing; gives their ids.
    pub(super) fn cut_stalled(&mut self, limit: Duration) -> Vec<Arc<str>> {
        let stalled = |open: &Open| match &open.stage {
            Stage::Answering { buffer, .. } => buffer.cut_if_stalled(limit),
            Stage::Asked(_) | Stage::Held { .. } => false,
        };
        let cut: Vec<Arc<str>> =
            self.requests.iter().filter(|(_, open)| stalled(open)).map(|(id, _)| Arc::clone(id)).collect();
        self.parts.counters.readers_stalled.add(cut.len() as u64);
        for id in &cut {
            self.requests.remove(id);
        }
        cut
    }

    /// A held answer is a backend's own after all: nothing that we say is that long.
    fn release(&mut self, id: &str, more: &[u8]) -> bool {
        let Some(Open { stage: Stage::Held { answer, head, mut bytes }, _counted }) =
            self.requests.remove(id)
        else {
            return false;
        };
        bytes.extend_from_slice(more);
        match self.begin(answer, head, bytes.freeze()) {
            Some(stage) => {
                self.requests.insert(Arc::from(id), Open { stage, _counted });
                false
            }
            None => true,
        }
    }

    /// Gives the answer to whoever waits for it; `None` when nobody does any more, or it
    /// can't be held.
    fn begin(&self, answer: AnswerTo, head: Response<()>, bytes: Bytes) -> Option<Stage> {
        let announced =
            head.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let left = match announced {
            None => None,
            Some(length) => Some(u64::checked_sub(length, bytes.len() as u64)?),
        };
        let buffer =
            Arc::new(Buffer::new(Arc::clone(&self.parts.unread), self.parts.settings.unread_bytes_max));
        if !bytes.is_empty() && !buffer.push(bytes) {
            return None;
        }
        let filling = Filling::new(&buffer);
        answer.send(Ok(head.map(|()| Body::stream(StreamBody::new(buffer))))).ok()?;
        Some(Stage::Answering { buffer: filling, left })
    }
}

impl Drop for OpenRequests {
    /// The tunnel is over, and what is half there must not look whole.
    fn drop(&mut self) {
        for (_, open) in self.requests.drain() {
            match open.stage {
                Stage::Answering { .. } => {}
                Stage::Asked(answer) | Stage::Held { answer, .. } => {
                    let _ = answer.send(Err(CallError::Lost));
                }
            }
        }
    }
}

/// A head of an answer; `None` when its status is none of an answer, or it is too large.
pub(in crate::v1) fn head(status: u16, map: Option<BTreeMap<String, String>>) -> Option<Response<()>> {
    let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200)?;
    let mut headers: HeaderMap = frame::from_map(map)?;
    headers::strip_connection_headers(&mut headers);
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = headers;
    Some(head)
}
