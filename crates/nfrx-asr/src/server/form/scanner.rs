//! Reads a form as it passes, in whatever pieces it comes: the state between two pieces is
//! a few hundred bytes, and the same bytes cut otherwise say the same.

use memchr::memmem;

use super::part_head::{Field, PartHead};
use super::{Boundary, FormError};

/// The head of a part names a field and a file; it is not longer than that.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A model's name is not longer than that.
const VALUE_BYTES_MAX: usize = 1024;

/// A form under way.
pub(in super::super) struct Scanner {
    boundary: Boundary,
    state: State,
    fields: Fields,
    /// Once the request went to a worker for its model, no other one may come.
    settled: bool,
}

/// What was read so far. A doubled field's last value wins (HTTP contract §5.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Fields {
    model: Option<String>,
    model_by_case: Option<String>,
    stream: bool,
    has_file: bool,
    /// Whether fields named different models: backends disagree on which one counts.
    is_torn: bool,
}

enum State {
    /// Before the first part; so many bytes of an empty line and of the delimiter came.
    Start { blank: usize, matched: usize },
    /// Behind a delimiter, on its line.
    Delimiter(Line),
    /// In the head of a part.
    Head(Vec<u8>),
    /// In a part.
    Content(Content),
    /// Behind the last part.
    End,
}

/// Where on a delimiter's line.
#[derive(Clone, Copy)]
enum Line {
    Begin,
    Dash,
    Padding,
    Return,
}

/// A part that is being read.
#[derive(Default)]
struct Content {
    /// The field, if it is one to be read.
    field: Option<Field>,
    /// All of it, when it is to be read; up to and with the delimiter at its end.
    value: Vec<u8>,
    /// The last bytes, which may be the beginning of a delimiter.
    tail: Vec<u8>,
}

impl Scanner {
    pub(in super::super) fn new(boundary: Boundary) -> Self {
        let state = State::Start { blank: 0, matched: 0 };
        Self { boundary, state, fields: Fields::default(), settled: false }
    }

    /// Reads the next piece. After an error the form is not to be passed on.
    pub(in super::super) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), FormError> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.state {
                State::Content(_) => bytes = self.content(bytes)?,
                State::End => {
                    if !bytes.iter().all(|byte| b"\r\n".contains(byte)) {
                        return Err(FormError::Malformed("something stands behind its end"));
                    }
                    return Ok(());
                }
                _ => {
                    self.step(first)?;
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// Whether a model was named.
    pub(in super::super) fn has_model(&self) -> bool {
        self.fields.model.as_ref().is_some_and(|model| !model.is_empty())
    }

    /// Whether a file has begun.
    pub(in super::super) fn has_file(&self) -> bool {
        self.fields.has_file
    }

    /// Whether the form came to its end.
    pub(in super::super) fn is_over(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Whether the answer shall stream.
    pub(in super::super) fn streams(&self) -> bool {
        self.fields.stream
    }

    /// Whether two fields named different models. The last one counts here, but not at every
    /// backend.
    pub(in super::super) fn is_torn(&self) -> bool {
        self.fields.is_torn
    }

    /// The model that counts. From here on another one is an error.
    pub(in super::super) fn settle(&mut self) -> Result<String, FormError> {
        let model = self.fields.model.clone().filter(|model| !model.is_empty()).ok_or(FormError::NoModel)?;
        self.settled = true;
        self.check()?;
        Ok(model)
    }

    fn check(&self) -> Result<(), FormError> {
        match &self.fields.model_by_case {
            Some(other) if self.fields.model.as_ref() != Some(other) => Err(FormError::TwoModels),
            _ => Ok(()),
        }
    }

    /// Reads a byte of what stands between the contents of two parts.
    fn step(&mut self, byte: u8) -> Result<(), FormError> {
        let delimiter = self.boundary.delimiter();
        match &mut self.state {
            State::Start { blank, matched } => match (byte, *blank, *matched) {
                (b'\r', 0, 0) => *blank = 1,
                (b'\n', 1, 0) => *blank = 2,
                (byte, 0 | 2, at) if byte == delimiter[at] => {
                    *matched += 1;
                    if *matched == delimiter.len() {
                        self.state = State::Delimiter(Line::Begin);
                    }
                }
                _ => return Err(FormError::NoModel),
            },
            State::Delimiter(line) => match (*line, byte) {
                (Line::Begin, b'-') => *line = Line::Dash,
                (Line::Dash, b'-') => self.state = State::End,
                (Line::Begin | Line::Padding, b' ' | b'\t') => *line = Line::Padding,
                (Line::Begin | Line::Padding, b'\r') => *line = Line::Return,
                (Line::Return, b'\n') => self.state = State::Head(Vec::new()),
                _ => return Err(STRAY_BOUNDARY),
            },
            State::Head(head) => {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") || head == b"\r\n" {
                    let part = PartHead::parse(&head[..head.len() - 2])?;
                    self.fields.has_file |= part.is_file;
                    self.state = State::Content(Content { field: part.field, ..Content::default() });
                } else if head.len() > HEAD_BYTES_MAX {
                    return Err(FormError::Malformed("the head of a part is too long"));
                }
            }
            State::Content(_) | State::End => {}
        }
        Ok(())
    }

    /// Reads on in a part, up to the delimiter at its end. Gives what is left.
    fn content<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], FormError> {
        let State::Content(content) = &mut self.state else { return Ok(bytes) };
        let delimiter = self.boundary.delimiter();
        let Some((end, on_its_line)) = content.find(delimiter, bytes) else {
            content.keep(bytes)?;
            content.note_tail(delimiter, bytes);
            return Ok(&[]);
        };
        if !on_its_line {
            return Err(STRAY_BOUNDARY);
        }
        content.keep(&bytes[..end])?;
        let Content { field, mut value, .. } = std::mem::take(content);
        if let Some(field) = field {
            value.truncate(value.len() - delimiter.len() - b"\r\n".len());
            self.take(field, value)?;
        }
        self.state = State::Delimiter(Line::Begin);
        Ok(&bytes[end..])
    }

    fn take(&mut self, field: Field, value: Vec<u8>) -> Result<(), FormError> {
        let value = String::from_utf8(value).map_err(|_| FormError::Malformed("a field is not UTF-8"))?;
        match field {
            Field::Model => {
                let another = self.fields.model.as_ref() != Some(&value);
                if self.settled && another {
                    return Err(FormError::TwoModels);
                }
                self.fields.is_torn |= another && self.fields.model.is_some();
                self.fields.model = Some(value);
            }
            Field::ModelByCase => {
                self.fields.model_by_case = Some(value);
                if self.settled {
                    self.check()?;
                }
            }
            Field::Stream => {
                self.fields.stream = matches!(value.trim(), "1" | "t" | "T" | "TRUE" | "true" | "True");
            }
        }
        Ok(())
    }
}

const STRAY_BOUNDARY: FormError = FormError::Malformed("its boundary stands where no part ends");

impl Content {
    /// Finds the delimiter's end in `bytes`, and whether it begins a line.
    fn find(&self, delimiter: &[u8], bytes: &[u8]) -> Option<(usize, bool)> {
        let tail = &self.tail;
        // One that began in the pieces before.
        let across: Vec<u8> = [tail, &bytes[..bytes.len().min(delimiter.len() - 1)]].concat();
        if let Some(at) = memmem::find(&across, delimiter) {
            return Some((at + delimiter.len() - tail.len(), across[..at].ends_with(b"\r\n")));
        }
        let at = memmem::find(bytes, delimiter)?;
        let before = match at {
            0 | 1 => [tail, &bytes[..at]].concat(),
            _ => bytes[at - 2..at].to_vec(),
        };
        Some((at + delimiter.len(), before.ends_with(b"\r\n")))
    }

    /// Keeps the last bytes: a delimiter but for its last one, and what begins its line.
    fn note_tail(&mut self, delimiter: &[u8], bytes: &[u8]) {
        let kept_max = delimiter.len() + 1;
        if bytes.len() >= kept_max {
            self.tail.clear();
        }
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(kept_max)..]);
        let surplus = self.tail.len().saturating_sub(kept_max);
        self.tail.drain(..surplus);
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), FormError> {
        if self.field.is_none() {
            return Ok(());
        }
        if self.value.len() + bytes.len() > VALUE_BYTES_MAX {
            return Err(FormError::Malformed("a field is too long"));
        }
        self.value.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
