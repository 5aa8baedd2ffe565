//! A socket with deadlines: for a request's head, for a client that takes nothing, and
//! for the last words after a refused body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nfrx_runtime::frames::{Flooded, FrameMeter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::protocol::FRAMES;
use super::{ConnectionState, Permit};
use crate::config::Limits;
use crate::telemetry::{Bound, Telemetry};

/// How long a connection is read on after a body that nobody wanted.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// HTTP/2 begins with this; everything else is HTTP/1.
const HTTP2_BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Said once to a client whose head took too long.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
/// GOAWAY with `ENHANCE_YOUR_CALM`, said to a client that floods us.
const TOO_MANY_FRAMES: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];

/// A socket as hyper gets it.
pub(crate) struct Guarded<T> {
    io: T,
    permit: Permit,
    state: Arc<ConnectionState>,
    telemetry: Arc<Telemetry>,
    head: Head,
    stall: Deadline,
    linger: Deadline,
}

/// A wait that exists only while something waits.
struct Deadline {
    span: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Where a connection is with its next head.
struct Head {
    deadline: Deadline,
    /// How many requests there had been when the bytes of this head began.
    begun_after: Option<u64>,
    /// How many bytes of HTTP/2's preface came, while it could still be one.
    preface: Option<usize>,
    /// Of a connection that speaks HTTP/2.
    frames: Option<FrameMeter>,
}

impl Deadline {
    fn new(span: Duration) -> Self {
        Self { span, sleep: None }
    }

    fn stop(&mut self) {
        self.sleep = None;
    }

    /// Begins, if it has not, and completes at its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let span = self.span;
        self.sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + span)))
            .as_mut()
            .poll(cx)
    }
}

impl Head {
    fn new(span: Duration) -> Self {
        // From the start: whoever connects and says nothing has the same time.
        Self { deadline: Deadline::new(span), begun_after: Some(0), preface: Some(0), frames: None }
    }

    /// Notes bytes that came while no request ran; gives those behind HTTP/2's preface.
    fn read<'a>(&mut self, bytes: &'a [u8], requests: u64) -> &'a [u8] {
        let mut rest = bytes;
        if let Some(at) = self.preface {
            let expected = &HTTP2_BEGIN[at..];
            let length = expected.len().min(bytes.len());
            rest = &bytes[length..];
            self.preface = (bytes[..length] == expected[..length]).then_some(at + length);
            if self.preface == Some(HTTP2_BEGIN.len()) {
                self.frames = Some(FrameMeter::new(FRAMES));
                self.preface = None;
            }
        }
        self.begun_after.get_or_insert(requests);
        rest
    }

    /// Whether a head was begun that became no request: hyper refused it, and may have
    /// left some of it unread.
    fn is_unfinished(&self, requests: u64) -> bool {
        self.preface != Some(0) && self.begun_after.is_some_and(|before| before >= requests)
    }

    /// Completes when a head was begun and has taken too long. HTTP/2 has pings and
    /// the idle limit instead.
    fn poll(&mut self, cx: &mut Context<'_>, requests: u64) -> Poll<()> {
        if self.begun_after.is_some_and(|before| before < requests) {
            self.begun_after = None;
        }
        if self.begun_after.is_none() || self.frames.is_some() {
            self.deadline.stop();
            return Poll::Pending;
        }
        self.deadline.poll(cx)
    }
}

impl<T> Guarded<T> {
    pub(super) fn new(
        io: T,
        state: Arc<ConnectionState>,
        permit: Permit,
        limits: &Limits,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            io,
            permit,
            state,
            telemetry,
            head: Head::new(limits.head_time_max),
            stall: Deadline::new(limits.write_stall_max),
            linger: Deadline::new(LINGER_TIME),
        }
    }

    /// The socket itself, for whoever takes the connection over, and its place.
    pub(crate) fn into_parts(self) -> (T, Permit) {
        (self.io, self.permit)
    }

    /// Ends the connection of a client that sends more frames than its work explains.
    fn count_frames(&mut self, bytes: &[u8]) -> Result<(), Flooded> {
        let Some(frames) = &mut self.head.frames else { return Ok(()) };
        let result = frames.received(bytes);
        self.state.began_streams(frames.streams());
        if result.is_err() {
            self.telemetry.refuse(Bound::Http2Flood);
        }
        result
    }

    fn note_written(&mut self, written: &Poll<io::Result<usize>>) {
        if let (Some(frames), Poll::Ready(Ok(bytes))) = (&mut self.head.frames, written) {
            frames.sent(*bytes);
        }
    }

    /// A write that can't go on for too long ends the connection, and with it the work
    /// for a client that takes nothing.
    fn poll_stall<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stall.stop();
            return written;
        }
        ready!(self.stall.poll(cx));
        self.telemetry.refuse(Bound::WriteStall);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client took nothing for too long")))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.io).poll_read(cx, buf) {
            let mut bytes = &buf.filled()[before..];
            if !bytes.is_empty() && !this.state.is_busy() {
                bytes = this.head.read(bytes, this.state.requests());
            }
            return Poll::Ready(match this.count_frames(bytes) {
                Ok(()) => result,
                Err(flooded) => {
                    // As much as fits at once, as above; amid an answer it is noise.
                    let _ = Pin::new(&mut this.io).poll_write(cx, TOO_MANY_FRAMES);
                    Err(io::Error::new(io::ErrorKind::QuotaExceeded, flooded))
                }
            });
        }
        if this.state.is_busy() {
            return Poll::Pending;
        }
        ready!(this.head.poll(cx, this.state.requests()));
        this.telemetry.refuse(Bound::HeadTime);
        // As much as fits at once; nobody waits for a client like this.
        let _ = Pin::new(&mut this.io).poll_write(cx, TOO_SLOW);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long")))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_written(&written);
        self.poll_stall(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note_written(&written);
        self.poll_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.poll_stall(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let closed = Pin::new(&mut this.io).poll_shutdown(cx);
        ready!(this.poll_stall(cx, closed))?;
        let is_unread = this.state.lingers() || this.head.is_unfinished(this.state.requests());
        let mut unread = [0; 8 * 1024];
        while is_unread && this.linger.poll(cx).is_pending() {
            let mut unread = ReadBuf::new(&mut unread);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut unread));
            if read.is_err() || unread.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
