//! Uploads on disk: those that name their model only behind their file wait here until it
//! is known who shall have them.
//!
//! A spool file has no name, so it is gone with its last handle, on every path: an error,
//! a client that leaves, a process that is killed. All of them together are bounded, in
//! `nfrx_asr_spool_bytes`; what does not fit is refused before it is written.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use nfrx_spi::metrics::{Counter, Family, MetricFamily, MetricKind, Sample, SampleValue};
use nfrx_spi::{Collector, MetricsError, MetricsRegistry};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, AsyncWriteExt, ReadBuf};

/// What is read and written at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Reasons to refuse in metrics.
const TOO_LARGE: &str = "too_large";
const FULL: &str = "full";

/// The place for spool files. Also a [`Collector`].
pub(super) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    used: AtomicU64,
    files: Counter,
    refused: Family<Counter, 1>,
}

/// Why an upload is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// It is longer than all that may be kept.
    #[error("an upload is longer than the {bytes_max} bytes that may wait for their model")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// Others have the room.
    #[error("too many uploads wait for their model")]
    Full,
    /// The file system failed.
    #[error("the spool file failed: {0}")]
    Io(#[from] io::Error),
}

impl Spool {
    pub(super) fn new(dir: PathBuf, bytes_max: u64) -> Self {
        let refused = Family::new(
            "nfrx_asr_spool_refused_total",
            "Uploads that named their model too late and found no room to wait, by reason.",
            ["reason"],
            4,
            Counter::default,
        );
        refused.begin_at_zero([[TOO_LARGE], [FULL]]);
        Self { dir, bytes_max, used: AtomicU64::new(0), files: Counter::default(), refused }
    }

    /// Adds its metrics.
    pub(super) fn register(self: &Arc<Self>, registry: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        registry.register(Arc::clone(self) as Arc<dyn Collector>)
    }

    /// An empty file.
    pub(super) async fn open(self: &Arc<Self>) -> Result<SpoolFile, SpoolError> {
        let dir = self.dir.clone();
        let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(dir)).await;
        let mut file = File::from_std(made.map_err(io::Error::other)??);
        file.set_max_buf_size(PIECE_BYTES);
        self.files.inc();
        Ok(SpoolFile { file, claim: Claim { spool: Arc::clone(self), bytes: 0 } })
    }
}

/// Room that is taken; dropping it gives it back.
struct Claim {
    spool: Arc<Spool>,
    bytes: u64,
}

impl Claim {
    fn grow(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let Spool { bytes_max, used, refused, .. } = &*self.spool;
        if self.bytes + bytes > *bytes_max {
            refused.with([TOO_LARGE]).inc();
            return Err(SpoolError::TooLarge { bytes_max: *bytes_max });
        }
        let before = used.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > *bytes_max {
            used.fetch_sub(bytes, Ordering::Relaxed);
            refused.with([FULL]).inc();
            return Err(SpoolError::Full);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.spool.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An upload that is being written.
pub(super) struct SpoolFile {
    file: File,
    claim: Claim,
}

impl SpoolFile {
    /// Adds a piece, if there is room for it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.claim.grow(bytes.len() as u64)?;
        Ok(self.file.write_all(bytes).await?)
    }

    /// All of it, from its beginning.
    pub(super) async fn into_reader(self) -> Result<SpoolReader, SpoolError> {
        let Self { mut file, claim } = self;
        // Flushes, so that a full disk is noticed here.
        file.flush().await?;
        file.rewind().await?;
        Ok(SpoolReader { file, left: claim.bytes, _claim: claim })
    }
}

/// An upload that is being read.
pub(super) struct SpoolReader {
    file: File,
    left: u64,
    _claim: Claim,
}

impl SpoolReader {
    /// How many bytes are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece; `None` at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::zeroed(PIECE_BYTES);
        let mut buffer = ReadBuf::new(&mut piece);
        if let Err(error) = ready!(Pin::new(&mut self.file).poll_read(cx, &mut buffer)) {
            return Poll::Ready(Some(Err(error)));
        }
        let length = buffer.filled().len();
        if length == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.left = self.left.saturating_sub(length as u64);
        piece.truncate(length);
        Poll::Ready(Some(Ok(piece.freeze())))
    }
}

impl Collector for Spool {
    fn collect(&self) -> Vec<MetricFamily> {
        let used = self.used.load(Ordering::Relaxed) as f64;
        let single = |name, help, kind, value| {
            let samples = vec![Sample { labels: Vec::new(), value }];
            MetricFamily { name, help, kind, samples }
        };
        let mut families = vec![
            single(
                "nfrx_asr_spool_bytes",
                "Bytes on disk of uploads that name their model after their file.",
                MetricKind::Gauge,
                SampleValue::Number(used),
            ),
            single(
                "nfrx_asr_spooled_total",
                "Uploads that waited on disk for their model.",
                MetricKind::Counter,
                SampleValue::Number(self.files.get() as f64),
            ),
        ];
        families.extend(self.refused.collect());
        families
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn spool(bytes_max: u64) -> (Arc<Spool>, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        (Arc::new(Spool::new(dir.path().to_owned(), bytes_max)), dir)
    }

    fn used(spool: &Spool) -> u64 {
        spool.used.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_nothing_stays() {
        let (spool, dir) = spool(1 << 20);
        let mut file = spool.open().await.expect("a file");
        let pieces = [vec![b'a'; 100_000], vec![b'b'; 7]];
        for piece in &pieces {
            file.write(piece).await.expect("there is room");
        }
        let names = || std::fs::read_dir(dir.path()).expect("the folder").count();
        // Seen to fail: with a file that has a name.
        assert_eq!((used(&spool), names()), (100_007, 0));
        let mut reader = file.into_reader().await.expect("it can be read");
        let mut read = Vec::new();
        while let Some(piece) = poll_fn(|cx| reader.poll_piece(cx)).await {
            read.extend_from_slice(&piece.expect("a piece"));
        }
        assert!(read == pieces.concat() && reader.left() == 0);
        drop(reader);
        // Seen to fail: without the claim's drop.
        assert_eq!((used(&spool), names()), (0, 0));
    }

    #[tokio::test]
    async fn all_files_together_are_bounded_and_one_too_long_for_it_never_fits() {
        let (spool, _dir) = spool(1000);
        let (mut first, mut second) = (spool.open().await.unwrap(), spool.open().await.unwrap());
        first.write(&[0; 600]).await.expect("there is room");
        // Seen to fail: with each file bounded alone.
        assert!(matches!(second.write(&[0; 500]).await, Err(SpoolError::Full)));
        second.write(&[0; 400]).await.expect("there is room");
        let too_large = first.write(&[0; 500]).await;
        assert!(matches!(too_large, Err(SpoolError::TooLarge { bytes_max: 1000 })));
        drop(first);
        second.write(&[0; 600]).await.expect("the first one's room is free");
        let text = format!("{:?}", spool.collect());
        for reason in ["full", "too_large"] {
            assert!(text.contains(reason), "{text}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_a_failure() {
        let spool = Arc::new(Spool::new("/nonexistent/nfrx".into(), 10));
        assert!(matches!(spool.open().await, Err(SpoolError::Io(_))));
    }
}
