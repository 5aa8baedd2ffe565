//! An object that is being read.

use std::io::SeekFrom;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use nfrx_spi::{Body, BodyError};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt as _, ReadBuf};

use super::{Object, Spool, SpoolError};
use crate::ids::hex;

/// What is read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Which bytes of an object are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) bytes: u64,
}

impl Spool {
    /// The bytes of an object; all of them are compared with its digest as they pass, before
    /// the last ones are given.
    pub(crate) async fn read(&self, object: &Object, part: Part) -> Result<Body, SpoolError> {
        let mut file = File::open(self.path(&object.file)).await?;
        file.set_max_buf_size(PIECE_BYTES);
        if part.first > 0 {
            file.seek(SeekFrom::Start(part.first)).await?;
        }
        let is_whole = part == Part { first: 0, bytes: object.bytes };
        let digest = is_whole.then(|| (Sha256::new(), object.sha256.clone()));
        Ok(Body::stream(Reading { file, left: part.bytes, digest }))
    }
}

/// A file as a body.
struct Reading {
    file: File,
    left: u64,
    /// What has passed, and what all of it has to be.
    digest: Option<(Sha256, String)>,
}

impl Reading {
    fn is_as_it_was(&mut self, data: &[u8]) -> bool {
        let Some((digest, _)) = &mut self.digest else { return true };
        digest.update(data);
        if self.left > 0 {
            return true;
        }
        self.digest.take().is_none_or(|(digest, kept)| hex(&digest.finalize()) == kept)
    }
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = BytesMut::zeroed(wanted);
        let mut into = ReadBuf::new(&mut piece);
        let read = ready!(Pin::new(&mut self.file).poll_read(cx, &mut into));
        let length = into.filled().len();
        if let Err(error) = read {
            tracing::error!(%error, "a stored payload or result can't be read");
            return Poll::Ready(Some(Err(BodyError::Aborted)));
        }
        piece.truncate(length);
        self.left = self.left.saturating_sub(length as u64);
        // Damaged on the disk: it must not look whole.
        if length == 0 || !self.is_as_it_was(&piece) {
            tracing::error!("a stored payload or result is not what was stored");
            self.left = 0;
            return Poll::Ready(Some(Err(BodyError::Aborted)));
        }
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
