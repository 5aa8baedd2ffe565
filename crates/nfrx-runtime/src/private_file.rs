//! Files that only their owner may read, written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file in the place of any that is there, and the folders that it lies in. Blocks.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_after(path, bytes, |_| Ok(()))
}

/// The same; `prepare` is shown the new file before anything is in it.
pub fn write_after(
    path: &Path,
    bytes: &[u8],
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let part = path.with_extension("nfrx-part");
    // One that was left by a crash, or that somebody else made, may be open to others.
    let _ = std::fs::remove_file(&part);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&part)?;
    prepare(&file)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::write;

    // Seen to fail: with the mode left to the system, and with the part that was left taken.
    #[cfg(unix)]
    #[test]
    fn a_file_is_its_owners_only_whatever_was_left_there() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("nfrx-private-{}", std::process::id()));
        let path = folder.join("deep/file.json");
        for text in ["first", "second"] {
            write(&path, text.as_bytes()).expect("the temporary folder can be written");
            let mode = std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
            assert_eq!((std::fs::read(&path).expect("it is ours"), mode), (text.into(), 0o600));
            let part = path.with_extension("nfrx-part");
            assert!(!part.exists());
            std::fs::write(part, "left by a crash, for all to read").expect("it is ours");
        }
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }
}
