//! The file of keys on disk: read whole, changed by one process at a time, replaced whole.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use nfrx_server::KeyList;

use crate::state_dir;

/// The keys in the file; none when it isn't there.
pub(super) fn read(path: &Path) -> anyhow::Result<KeyList> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(KeyList::default()),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    KeyList::parse(&text).with_context(|| format!("{} is no file of keys", path.display()))
}

/// Changes the keys in the file. Two that change it at once wait for each other.
pub(super) fn change(
    path: &Path,
    change: impl FnOnce(&mut KeyList) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // What a link points to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let _lock = lock(&path)?;
    let mut keys = read(&path)?;
    change(&mut keys)?;
    state_dir::write_private(&path, &keys.text())
}

/// Holds the file's folder, which outlives every replacement of the file.
#[cfg(unix)]
fn lock(path: &Path) -> anyhow::Result<Option<fs::File>> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let dir = fs::File::open(dir).with_context(|| format!("can't open the folder {}", dir.display()))?;
    dir.lock().context("can't lock the folder of keys")?;
    Ok(Some(dir))
}

/// Elsewhere a folder can't be held: two changes at once may lose one of them.
#[cfg(not(unix))]
fn lock(_: &Path) -> anyhow::Result<Option<fs::File>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use nfrx_spi::{Scopes, Secret};

    use super::*;

    /// A folder that is gone at the end of its test.
    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("nfrx-keys-file-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).expect("the temporary folder can be written");
            Self(dir)
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn add(path: &Path, name: &str) -> anyhow::Result<()> {
        change(path, |keys| Ok(keys.add(name, &Secret::new(format!("key of {name}")), Scopes::default())?))
    }

    #[test]
    fn changes_at_once_are_all_kept() {
        let dir = TempDir::new("at-once");
        let path = dir.0.join("keys.yaml");
        std::thread::scope(|scope| {
            for nth in 0..16 {
                let path = &path;
                scope.spawn(move || add(path, &format!("key-{nth}")).expect("the file can be written"));
            }
        });
        // Seen to fail: without the lock.
        assert_eq!(read(&path).expect("a file of keys").keys().len(), 16);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_private_and_keeps_what_its_group_may_do() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = TempDir::new("mode");
        let path = dir.0.join("keys.yaml");
        let mode = || fs::metadata(&path).expect("it was written").permissions().mode() & 0o777;
        add(&path, "a").expect("the file can be written");
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
        add(&path, "b").expect("the file can be written");
        // Seen to fail: without the look at the old file's mode.
        assert_eq!(mode(), 0o640);
    }

    #[test]
    fn a_broken_file_is_left_as_it_is() {
        let dir = TempDir::new("broken");
        let path = dir.0.join("keys.yaml");
        fs::write(&path, "- name: a\n  key: hunter2\n").expect("the temporary folder can be written");
        let error = format!("{:#}", add(&path, "b").expect_err("no file of keys"));
        assert!(error.contains("keys.yaml is no file of keys") && !error.contains("hunter2"), "{error}");
        assert!(fs::read_to_string(&path).is_ok_and(|text| text.contains("hunter2")));
    }
}
