//! Where this machine's nfrx keeps what must outlive a process.

use std::path::{Path, PathBuf};
use std::{env, io};

use anyhow::{Context, bail};
use nfrx_runtime::private_file;

/// `NFRX_STATE_DIR`, else systemd's `STATE_DIRECTORY`, else the user's data folder.
pub(crate) fn path() -> anyhow::Result<PathBuf> {
    let named = ["NFRX_STATE_DIR", "STATE_DIRECTORY"]
        .into_iter()
        .filter_map(env::var_os)
        .find(|value| !value.is_empty());
    if let Some(dir) = named {
        return Ok(dir.into());
    }
    let data = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = if cfg!(windows) {
        data("LOCALAPPDATA").map(|dir| dir.join("nfrx"))
    } else if cfg!(target_os = "macos") {
        data("HOME").map(|home| home.join("Library/Application Support/nfrx"))
    } else {
        data("XDG_DATA_HOME")
            .or_else(|| data("HOME").map(|home| home.join(".local/share")))
            .map(|dir| dir.join("nfrx"))
    };
    match dir {
        Some(dir) => Ok(dir),
        None => bail!("no folder for state: set NFRX_STATE_DIR to one that can be written"),
    }
}

/// Writes a file that only its owner may read, whole or not at all. A file that it replaces
/// hands on its owner and group, and whether the group may read.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let dir = path.parent().context("a file has a folder")?;
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    std::fs::create_dir_all(dir)
        .with_context(|| format!("can't make the folder {}: set NFRX_STATE_DIR to another", dir.display()))?;
    let written = private_file::write_after(path, text.as_bytes(), |file| {
        #[cfg(unix)]
        if let Ok(old) = std::fs::metadata(path) {
            take_after(file, &old)
                .map_err(|error| io::Error::other(format!("can't keep the owner of it: {error}")))?;
        }
        Ok(())
    });
    written.with_context(|| format!("can't write {}", path.display()))
}

/// Gives `file` the owner and group of the one it replaces. Root changes keys of a service
/// that runs as somebody else, and must be able to read them afterwards.
#[cfg(unix)]
fn take_after(file: &std::fs::File, old: &std::fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o600 | old.mode() & 0o040))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = env::temp_dir().join(format!("nfrx-state-{}", std::process::id()));
        let file = dir.join("keys.json");
        write_private(&file, "first").expect("the temporary folder can be written");
        write_private(&file, "second").expect("a file is replaced");
        let mode = std::fs::metadata(&file).expect("it was written").permissions().mode() & 0o777;
        let text = std::fs::read_to_string(&file).expect("it was written");
        std::fs::remove_dir_all(&dir).expect("it is ours");
        // Seen to fail: without the mode it is 0644.
        assert_eq!((mode, text.as_str()), (0o600, "second"));
    }
}
