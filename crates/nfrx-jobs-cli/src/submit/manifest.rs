//! What became of each input, in one file beside the results.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The file's name.
pub(super) const MANIFEST: &str = "nfrx-jobs.json";

/// One input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) file: String,
    /// The digest of its bytes and of what was wished.
    pub(super) key: String,
    pub(super) job_id: String,
    pub(super) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// All inputs.
pub(super) struct Manifest {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Manifest {
    /// Reads the file, if there is one.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let entries = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is none of ours: move it away", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
        };
        Ok(Self { path: path.to_owned(), entries })
    }

    /// Whether the result of these bytes and wishes is in this file already.
    pub(super) fn has_result(&self, key: &str, target: &Path) -> bool {
        let is_it = |entry: &Entry| entry.key == key && entry.result.as_deref() == Some(target);
        target.is_file() && self.entries.iter().any(is_it)
    }

    /// Adds an entry in the place of an older one for the same input, and writes the file.
    pub(super) fn add(&mut self, entry: Entry) -> anyhow::Result<()> {
        self.entries.retain(|known| known.file != entry.file);
        self.entries.push(entry);
        self.entries.sort_by(|a, b| a.file.cmp(&b.file));
        let text = serde_json::to_string_pretty(&self.entries)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.persist(&self.path)?;
            Ok(())
        };
        written().with_context(|| format!("can't write {}", self.path.display()))
    }
}
