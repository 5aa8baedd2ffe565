//! A file as a request's body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use nfrx_spi::{Body, BodyError};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// What is read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A file of a known length as a body; one that has become shorter breaks off.
pub(crate) struct FileBody {
    file: File,
    left: u64,
}

impl FileBody {
    /// So many bytes of a file, from where it stands.
    pub(crate) fn of(file: File, bytes: u64) -> Body {
        Body::stream(Self { file, left: bytes })
    }
}

impl http_body::Body for FileBody {
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
        if read.is_err() || length == 0 {
            return Poll::Ready(Some(Err(BodyError::Aborted)));
        }
        piece.truncate(length);
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
