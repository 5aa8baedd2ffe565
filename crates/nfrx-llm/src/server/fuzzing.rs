//! The reading of requests and answers, laid open for the fuzzer and the
//! counts of instructions, and for nobody else.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use nfrx_pool::Observer;

use super::request_head::{HeadError, RequestHead};
use super::usage::UsageObserver;

/// What a request's body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// It is read.
    Read {
        /// The model; empty for none.
        model: String,
        /// Whether the answer shall stream.
        stream: bool,
        /// Whether it has a member `input`.
        has_input: bool,
    },
    /// It names two models.
    TwoModels,
    /// It is not JSON.
    NotJson,
}

/// Reads a request's body.
pub fn head(body: &[u8]) -> Head {
    match RequestHead::scan(body) {
        Ok(RequestHead { model, stream, has_input }) => Head::Read { model, stream, has_input },
        Err(HeadError::TwoModels) => Head::TwoModels,
        Err(HeadError::NotJson(_)) => Head::NotJson,
    }
}

/// What counts the tokens of an answer.
pub fn observer() -> Box<dyn Observer> {
    Box::<UsageObserver>::default()
}

/// What was counted of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Events of a stream.
    pub events: u64,
    /// The most bytes that were held between two pieces.
    pub held_max: usize,
}

/// Counts the tokens of a stream of events that comes in these pieces.
pub fn count<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Counted {
    let mut response = http::Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    let mut observer = UsageObserver::default();
    observer.head(&response.into_parts().0);
    let mut held_max = 0;
    for piece in pieces {
        observer.data(&Bytes::copy_from_slice(piece));
        held_max = held_max.max(observer.held());
    }
    let events = observer.tokens_so_far();
    let usage = observer.end(None);
    Counted { tokens_in: usage.tokens_in, tokens_out: usage.tokens_out, events, held_max }
}
