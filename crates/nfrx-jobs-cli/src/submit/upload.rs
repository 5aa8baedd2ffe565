//! An input's bytes, which may be sent more than once.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nfrx_spi::Body;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;

use crate::file_body::FileBody;

/// What is read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// An input.
pub(super) struct Input {
    path: PathBuf,
    bytes: u64,
    digest: Sha256,
    /// What standard input was put into; gone with this value.
    _kept: Option<tempfile::NamedTempFile>,
}

impl Input {
    /// Reads it once, for its digest; standard input is put into a file.
    pub(super) async fn read(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let reading = move || -> io::Result<Self> {
            if path.as_os_str() != "-" {
                let (bytes, digest) = digest_of(std::fs::File::open(&path)?, None)?;
                return Ok(Self { path, bytes, digest, _kept: None });
            }
            let mut kept = tempfile::NamedTempFile::new()?;
            let (bytes, digest) = digest_of(io::stdin().lock(), Some(kept.as_file_mut()))?;
            Ok(Self { path: kept.path().to_owned(), bytes, digest, _kept: Some(kept) })
        };
        tokio::task::spawn_blocking(reading).await.map_err(io::Error::other)?
    }

    /// What tells these bytes with these wishes from all others.
    pub(super) fn key(&self, order: &Map<String, Value>) -> String {
        let digest = self.digest.clone().chain_update(Value::Object(order.clone()).to_string()).finalize();
        digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// The bytes as a body.
    pub(super) async fn body(&self) -> io::Result<Body> {
        Ok(FileBody::of(File::open(&self.path).await?, self.bytes))
    }
}

fn digest_of(mut from: impl io::Read, mut into: Option<&mut std::fs::File>) -> io::Result<(u64, Sha256)> {
    let (mut piece, mut bytes, mut digest) = (vec![0; PIECE_BYTES], 0, Sha256::new());
    loop {
        let read = match from.by_ref().read(&mut piece) {
            Ok(0) => return Ok((bytes, digest)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&piece[..read]);
        bytes += read as u64;
        if let Some(into) = &mut into {
            into.write_all(&piece[..read])?;
        }
    }
}
