//! Reads the answer to one HTTP/1.1 request, in whatever pieces it comes.
//!
//! Only what a measurement needs is kept: the status, how long the body is, and how many
//! server-sent events were in it. Bodies come with a length, in chunks, or end with the
//! connection.

use std::mem;

use crate::http::events::Events;

/// The longest line of a head or between chunks, and the most bytes of a whole head.
const LINE_BYTES_MAX: usize = 16 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Why an answer could not be read to its end.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Broken {
    #[error("the head's first line is no HTTP/1 status line: {0:?}")]
    StatusLine(String),
    #[error("a header cannot be read: {0:?}")]
    Header(String),
    #[error("the size of a chunk cannot be read: {0:?}")]
    ChunkSize(String),
    #[error("a chunk is longer than it said")]
    ChunkEnd,
    #[error("the head or one of its lines is too long")]
    TooLong,
    #[error("{0} bytes follow the end of the answer")]
    Surplus(usize),
    #[error("the connection ended in the middle of the answer")]
    Torn,
}

/// What one piece of an answer held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Server-sent events whose `data:` began in this piece.
    pub(crate) events: u64,
    /// Bytes of the body.
    pub(crate) body_bytes: u64,
}

/// One answer, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    state: State,
    status: u16,
    head_bytes: usize,
    length: Length,
    /// Counts events, when the content type says that there are some.
    events: Option<Events>,
    /// The beginning of a line that has not ended yet.
    line: Vec<u8>,
    /// The connection can be used again.
    keeps_alive: bool,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    StatusLine,
    Headers,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// How the head says the body ends.
#[derive(Debug, Default, Clone, Copy)]
enum Length {
    #[default]
    Unknown,
    Bytes(u64),
    Chunked,
}

impl Answer {
    /// The status; 0 before the head was read.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the head was read to its end.
    pub(crate) fn has_head(&self) -> bool {
        !matches!(self.state, State::StatusLine | State::Headers)
    }

    /// Whether nothing is missing.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether another request may follow on the same connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Reads the next bytes from the connection.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<Piece, Broken> {
        let mut piece = Piece::default();
        while !bytes.is_empty() {
            match self.state {
                State::Done => return Err(Broken::Surplus(bytes.len())),
                State::Body(left) => match self.take_body(&mut bytes, left, &mut piece) {
                    0 => self.state = State::Done,
                    left => self.state = State::Body(left),
                },
                State::Chunk(left) => match self.take_body(&mut bytes, left, &mut piece) {
                    0 => self.state = State::ChunkEnd,
                    left => self.state = State::Chunk(left),
                },
                State::UntilClose => {
                    self.take_body(&mut bytes, u64::MAX, &mut piece);
                }
                State::StatusLine | State::Headers | State::ChunkSize | State::ChunkEnd | State::Trailers => {
                    let Some(line) = self.take_line(&mut bytes)? else { break };
                    self.read_line(&line)?;
                    // Its room is used again for the next line.
                    self.line = line;
                    self.line.clear();
                }
            }
        }
        Ok(piece)
    }

    /// The connection ended.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Broken::Torn),
        }
    }

    /// Takes at most `left` bytes of the body and returns how many are left then.
    fn take_body(&mut self, bytes: &mut &[u8], left: u64, piece: &mut Piece) -> u64 {
        let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (body, rest) = bytes.split_at(taken);
        if let Some(events) = &mut self.events {
            piece.events += events.count(body);
        }
        piece.body_bytes += body.len() as u64;
        *bytes = rest;
        left - body.len() as u64
    }

    /// The next line without its end, once all of it is there.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let end = memchr::memchr(b'\n', bytes);
        let (begin, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if self.line.len() + begin.len() > LINE_BYTES_MAX {
            return Err(Broken::TooLong);
        }
        self.line.extend_from_slice(begin);
        *bytes = rest.get(1..).unwrap_or_default();
        if end.is_none() {
            return Ok(None);
        }
        let mut line = mem::take(&mut self.line);
        line.pop_if(|last| *last == b'\r');
        Ok(Some(line))
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), Broken> {
        self.state = match self.state {
            State::StatusLine => {
                self.status = status(line).ok_or_else(|| Broken::StatusLine(text(line)))?;
                self.keeps_alive = line.starts_with(b"HTTP/1.1 ");
                State::Headers
            }
            State::Headers if line.is_empty() => self.after_head(),
            State::Headers => {
                self.head_bytes += line.len();
                if self.head_bytes > HEAD_BYTES_MAX {
                    return Err(Broken::TooLong);
                }
                self.read_header(line)?;
                State::Headers
            }
            State::ChunkSize => match chunk_size(line).ok_or_else(|| Broken::ChunkSize(text(line)))? {
                0 => State::Trailers,
                size => State::Chunk(size),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err(Broken::ChunkEnd),
            State::Trailers if line.is_empty() => State::Done,
            other => other,
        };
        Ok(())
    }

    fn after_head(&mut self) -> State {
        match (self.status, self.length) {
            // Only an announcement; the answer follows.
            (100..200, _) => {
                *self = Self::default();
                State::StatusLine
            }
            (204 | 304, _) | (_, Length::Bytes(0)) => State::Done,
            (_, Length::Bytes(length)) => State::Body(length),
            (_, Length::Chunked) => State::ChunkSize,
            (_, Length::Unknown) => {
                self.keeps_alive = false;
                State::UntilClose
            }
        }
    }

    fn read_header(&mut self, line: &[u8]) -> Result<(), Broken> {
        let broken = || Broken::Header(text(line));
        let colon = memchr::memchr(b':', line).ok_or_else(broken)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            self.length = Length::Bytes(length.ok_or_else(broken)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(broken());
            }
            self.length = Length::Chunked;
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.events = value.starts_with(b"text/event-stream").then(Events::default);
        } else if name.eq_ignore_ascii_case(b"connection") && value.eq_ignore_ascii_case(b"close") {
            self.keeps_alive = false;
        }
        Ok(())
    }
}

fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let code = str::from_utf8(rest.get(2..5)?).ok()?;
    code.parse().ok().filter(|code| (100..600).contains(code))
}

/// What follows a `;` is an extension, which nobody needs.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(str::from_utf8(size).ok()?, 16).ok()
}

/// The beginning of a line, for an error's text.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests;
