//! The bytes' way: a writer's body into the queue, the queue into a reader's answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use nfrx_spi::{Body, BodyError, Moment};
use tokio::sync::{mpsc, oneshot};

use super::channel::{Channel, Piece, Pipe, Reader, Receipt, Writer};
use super::{ChannelState, Transfers};

/// What is read of a waiting writer's body, so that its leaving is noticed (KD-106).
const READ_AHEAD_BYTES: usize = 64 * 1024;
/// Between two signs of life of a channel's job.
const TRAFFIC_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a writer's bytes did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotPassed {
    /// The channel was over before anybody read.
    Over(ChannelState),
    /// The reader has no room for it.
    NoRoom,
    /// One of the two left midway, or neither moved for too long.
    Failed,
}

/// A body that is on its way.
pub(super) struct Passage<'a> {
    pub(super) transfers: &'a Transfers,
    pub(super) channel: &'a Arc<Channel>,
    pub(super) body: Body,
    /// Read before the reader came.
    ahead: Vec<Bytes>,
    told: Option<Moment>,
}

impl<'a> Passage<'a> {
    pub(super) fn new(transfers: &'a Transfers, channel: &'a Arc<Channel>, body: Body) -> Self {
        Self { transfers, channel, body, ahead: Vec::new(), told: None }
    }

    /// Waits for the reader and gives it everything.
    pub(super) async fn run(mut self, mut writer: Writer, headers: &HeaderMap) -> Result<(), NotPassed> {
        let length = self.body.size_hint().exact();
        let pipe = self.meet(&mut writer, headers).await?;
        let kind = headers.get(header::CONTENT_TYPE).cloned();
        let sent = match self.send_all(&pipe.pieces, kind, length).await {
            // A reader that knows the length may leave when it has everything.
            Err(_) if pipe.receipt.is_signed() => Ok(()),
            Err(_) if pipe.receipt.is_refused() => Err(NotPassed::NoRoom),
            sent => sent,
        };
        if sent.is_ok() {
            writer.done();
        }
        sent
    }

    /// Waits for the reader. A sender that asked whether to go on is not told to before
    /// somebody reads.
    async fn meet(&mut self, writer: &mut Writer, headers: &HeaderMap) -> Result<Pipe, NotPassed> {
        let mut may_read = !headers.contains_key(header::EXPECT);
        let mut read = 0;
        loop {
            tokio::select! {
                biased;
                joined = writer.join() => return joined.map_err(NotPassed::Over),
                () = self.transfers.until(self.channel.expires()) => self.channel.end(ChannelState::Expired),
                frame = self.body.frame(), if may_read => match frame {
                    None => may_read = false,
                    Some(Ok(frame)) => {
                        let data = frame.into_data().unwrap_or_default();
                        read += data.len();
                        may_read = read < READ_AHEAD_BYTES;
                        self.ahead.push(data);
                    }
                    Some(Err(_)) => return Err(NotPassed::Failed),
                }
            }
        }
    }

    async fn send_all(
        &mut self,
        pipe: &mpsc::Sender<Piece>,
        kind: Option<HeaderValue>,
        length: Option<u64>,
    ) -> Result<(), NotPassed> {
        self.send(pipe, Piece::Head { kind, length }).await?;
        for data in std::mem::take(&mut self.ahead) {
            self.give(pipe, data).await?;
        }
        while let Some(frame) = self.next(pipe).await? {
            if let Ok(data) = frame.into_data() {
                self.give(pipe, data).await?;
            }
        }
        let (taken, told) = oneshot::channel();
        self.send(pipe, Piece::End(taken)).await?;
        limited(self.transfers, self.channel, pipe, told).await?.map_err(|_| NotPassed::Failed)
    }

    async fn give(&mut self, pipe: &mpsc::Sender<Piece>, data: Bytes) -> Result<(), NotPassed> {
        if data.is_empty() {
            return Ok(());
        }
        self.transfers.shared.metrics.transfer_bytes.with([]).add(data.len() as u64);
        let now = self.transfers.shared.clock.now();
        if self.told.is_none_or(|told| now.since(told) >= TRAFFIC_EVERY)
            && let Some(job) = self.channel.job()
        {
            self.told = Some(now);
            self.transfers.flowed(job);
        }
        self.send(pipe, Piece::Data(data)).await
    }

    async fn send(&mut self, pipe: &mpsc::Sender<Piece>, piece: Piece) -> Result<(), NotPassed> {
        let sent = limited(self.transfers, self.channel, pipe, pipe.send(piece)).await?;
        sent.map_err(|_| NotPassed::Failed)
    }

    async fn next(&mut self, pipe: &mpsc::Sender<Piece>) -> Result<Option<Frame<Bytes>>, NotPassed> {
        let (transfers, channel) = (self.transfers, self.channel);
        let frame = limited(transfers, channel, pipe, self.body.frame()).await?;
        frame.transpose().map_err(|_| NotPassed::Failed)
    }
}

/// Runs a step unless the reader leaves, the channel is closed, or nothing moves for too long.
async fn limited<T>(
    transfers: &Transfers,
    channel: &Channel,
    pipe: &mpsc::Sender<Piece>,
    step: impl Future<Output = T>,
) -> Result<T, NotPassed> {
    tokio::select! {
        biased;
        done = step => Ok(done),
        () = pipe.closed() => Err(NotPassed::Failed),
        _ = channel.over() => Err(NotPassed::Failed),
        () = transfers.idle() => Err(NotPassed::Failed),
    }
}

/// A reader's answer: what the writer sends, or a body that breaks off.
pub(super) struct ReaderBody {
    reader: Reader,
    /// What came before the answer's head was written.
    first: Option<Bytes>,
    remaining: Option<u64>,
    is_over: bool,
}

impl ReaderBody {
    pub(super) fn new(reader: Reader, first: Bytes, length: Option<u64>) -> Self {
        Self { reader, first: Some(first), remaining: length, is_over: false }
    }

    fn receipt(&self) -> &Receipt {
        &self.reader.receipt
    }

    /// Notes a piece that is taken. Readers whose answer has a length don't ask for its end.
    fn take(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(data.len() as u64);
            if *remaining == 0 {
                self.receipt().sign();
            }
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl http_body::Body for ReaderBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take() {
            return self.take(first);
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        match ready!(self.reader.pieces.poll_recv(cx)) {
            Some(Piece::Data(data)) => self.take(data),
            Some(Piece::End(taken)) => {
                self.is_over = true;
                self.receipt().sign();
                let _ = taken.send(());
                Poll::Ready(None)
            }
            // The writer left, or said its head twice, which it does not.
            Some(Piece::Head { .. }) | None => {
                self.is_over = true;
                Poll::Ready(Some(Err(BodyError::Aborted)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
