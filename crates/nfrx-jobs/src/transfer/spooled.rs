//! Channels whose other end is the server itself: what is stored is read by a worker, what a
//! worker writes is stored.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use nfrx_spi::Body;
use tokio::sync::oneshot;

use super::Transfers;
use super::channel::{Channel, Piece, Reader, Writer};
use super::pass::Passage;
use crate::answer::Failure;

/// The writer's side of a channel.
pub(crate) struct Feed {
    channel: Arc<Channel>,
    writer: Writer,
}

/// The reader's side of a channel.
pub(crate) struct Sink {
    reader: Reader,
    length: Option<u64>,
    /// Told when everything is where it belongs.
    taken: Option<oneshot::Sender<()>>,
}

impl Transfers {
    /// Takes the writer's side, unless somebody has it.
    pub(crate) fn feed(&self, id: &str) -> Option<Feed> {
        let channel = self.lock().by_id.get(id).cloned()?;
        let writer = channel.write().ok()?;
        Some(Feed { channel, writer })
    }

    /// Takes the reader's side, unless somebody has it.
    pub(crate) fn collect(&self, id: &str) -> Option<Sink> {
        let channel = self.lock().by_id.get(id).cloned()?;
        let reader = channel.read().ok()?;
        Some(Sink { reader, length: None, taken: None })
    }
}

impl Feed {
    /// Waits for the reader and gives it everything.
    pub(crate) async fn pass(self, transfers: &Transfers, body: Body, content_type: Option<&str>) {
        let kind = content_type.and_then(|kind| HeaderValue::from_str(kind).ok());
        let headers: HeaderMap = kind.map(|kind| (header::CONTENT_TYPE, kind)).into_iter().collect();
        // How it went is the channel's state.
        let _ = Passage::new(transfers, &self.channel, body).run(self.writer, &headers).await;
        transfers.ended(&self.channel);
    }
}

impl Sink {
    /// Waits for the writer; what it says its bytes are, or `None` if none came.
    pub(crate) async fn begin(&mut self) -> Option<Option<String>> {
        let Some(Piece::Head { kind, length }) = self.reader.pieces.recv().await else { return None };
        self.length = length;
        Some(kind.and_then(|kind| kind.to_str().map(str::to_owned).ok()))
    }

    /// How many bytes the writer says it sends.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes; `None` when all are there, or the writer left.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        match self.reader.pieces.recv().await {
            Some(Piece::Data(data)) => Some(data),
            Some(Piece::End(taken)) => {
                self.taken = Some(taken);
                None
            }
            Some(Piece::Head { .. }) | None => None,
        }
    }

    /// Whether the writer sent everything.
    pub(crate) fn is_whole(&self) -> bool {
        self.taken.is_some()
    }

    /// Tells the writer what became of its bytes.
    pub(crate) fn end(self, stored: &Result<(), Failure>) {
        match (stored, self.taken) {
            (Ok(()), Some(taken)) => {
                self.reader.receipt.sign();
                // A writer that has left meanwhile hears nothing.
                let _ = taken.send(());
            }
            (Err(Failure::NoRoom), _) => self.reader.receipt.refuse(),
            _ => {}
        }
    }
}
