//! The reading of forms, laid open for the fuzzer and for nobody else.

use http::{HeaderMap, HeaderValue};

use super::form::{Boundary, Scanner, is_form};

/// A form under way.
pub struct Form(Scanner);

/// What is known of a form so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether a model was named.
    pub has_model: bool,
    /// Whether a file has begun.
    pub has_file: bool,
    /// Whether the answer shall stream.
    pub streams: bool,
    /// Whether two models were named.
    pub is_torn: bool,
    /// Whether the form came to its end.
    pub is_over: bool,
}

impl Form {
    /// A form of this `Content-Type`; `None` when it is none that is read.
    pub fn of(content_type: &[u8]) -> Option<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_bytes(content_type).ok()?);
        let boundary = Boundary::of(&headers).filter(|_| is_form(&headers))?;
        Some(Self(Scanner::new(boundary)))
    }

    /// Reads a piece; `false` when the form is refused.
    pub fn read(&mut self, piece: &[u8]) -> bool {
        self.0.scan(piece).is_ok()
    }

    /// What is known.
    pub fn known(&self) -> Known {
        let form = &self.0;
        Known {
            has_model: form.has_model(),
            has_file: form.has_file(),
            streams: form.streams(),
            is_torn: form.is_torn(),
            is_over: form.is_over(),
        }
    }

    /// The model by which a worker is chosen; from then on another one is refused.
    pub fn settle(&mut self) -> Option<String> {
        self.0.settle().ok()
    }
}
