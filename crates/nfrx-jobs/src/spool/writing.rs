//! An object that is being written.

use std::io;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt as _;

use super::{Object, Spool, SpoolError, UNFINISHED};
use crate::ids;
use crate::time::Millis;

/// What is written at once.
const PIECE_BYTES: usize = 256 * 1024;

/// An object that is being written. Dropped before its end, nothing is left of it.
pub(crate) struct Incoming {
    file: File,
    digest: Sha256,
    claim: Claim,
}

/// The name and the room that are taken; dropping it gives both back.
struct Claim {
    spool: Spool,
    name: String,
    bytes: u64,
    is_kept: bool,
}

impl Spool {
    /// An empty one. 507 at once if `length` is known and does not fit.
    pub(crate) async fn receive(&self, length: Option<u64>) -> Result<Incoming, SpoolError> {
        let used = self.0.used.load(Ordering::Relaxed);
        if used.saturating_add(length.unwrap_or(1)) > self.0.bytes_max {
            return Err(self.full());
        }
        let claim = Claim { spool: self.clone(), name: ids::uuid(), bytes: 0, is_kept: false };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let mut file = options.open(claim.unfinished()).await?;
        file.set_max_buf_size(PIECE_BYTES);
        Ok(Incoming { file, digest: Sha256::new(), claim })
    }
}

impl Incoming {
    /// Adds a piece, if there is room for it.
    pub(crate) async fn write(&mut self, data: &Bytes) -> Result<(), SpoolError> {
        self.claim.grow(data.len() as u64)?;
        self.digest.update(data);
        Ok(self.file.write_all(data).await?)
    }

    /// All is there: it is on the disk when this completes. The caller has a record name it,
    /// or discards it.
    pub(crate) async fn finish(mut self, content_type: Option<String>, now: Millis) -> io::Result<Object> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let Self { file, digest, mut claim } = self;
        drop(file);
        let (folder, name) = (claim.spool.0.folder.clone(), claim.name.clone());
        tokio::fs::rename(claim.unfinished(), claim.spool.path(&name)).await?;
        // The new name has to be on the disk as well.
        File::open(folder).await?.sync_all().await?;
        claim.is_kept = true;
        let sha256 = ids::hex(&digest.finalize());
        Ok(Object { file: name, bytes: claim.bytes, sha256, content_type, stored_at: now })
    }
}

impl Claim {
    fn unfinished(&self) -> std::path::PathBuf {
        self.spool.path(&self.name).with_extension(UNFINISHED)
    }

    fn grow(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let inner = &*self.spool.0;
        let before = inner.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > inner.bytes_max {
            inner.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(self.spool.full());
        }
        self.bytes += bytes;
        self.spool.count();
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        self.spool.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.spool.count();
        // One small call, and nobody waits for it: what is left behind goes at the next start.
        let _ = std::fs::remove_file(self.unfinished());
    }
}
