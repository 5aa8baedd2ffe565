//! The token of the control routes: kept in a file that only its owner may read.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nfrx_spi::Secret;
use subtle::ConstantTimeEq as _;

/// The token. It is never shown.
#[derive(Debug)]
pub(super) struct ControlToken(Secret);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// Nobody said where one may be.
    #[error("there is no folder for it: set NFRX_STATE_DIR")]
    Nowhere,
    /// The file can't be made.
    #[error("can't make {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl ControlToken {
    /// The token in the first of `files` that has one; else a new one in the last.
    pub(super) fn find_or_make(files: &[PathBuf]) -> Result<Self, TokenError> {
        let held = files.iter().filter_map(|file| fs::read_to_string(file).ok());
        if let Some(text) = held.map(|text| text.trim().to_owned()).find(|text| !text.is_empty()) {
            return Ok(Self(Secret::new(text)));
        }
        let path = files.last().ok_or(TokenError::Nowhere)?;
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| TokenError::Random)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        write(path, &text).map_err(|source| TokenError::Unwritable { path: path.clone(), source })?;
        Ok(Self(Secret::new(text)))
    }

    /// Whether `shown` is the token, in constant time.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        self.0.reveal().as_bytes().ct_eq(shown).into()
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut options = fs::OpenOptions::new();
    // An empty file is filled, whatever made it.
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is gone at the end of its test.
    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("nfrx-token-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_token_is_made_once_private_and_found_again() {
        let dir = TempDir::new("made");
        let files = [dir.0.join("etc/llm.token"), dir.0.join("state/llm.token")];
        let made = ControlToken::find_or_make(&files).expect("the temporary folder can be written");
        let text = fs::read_to_string(&files[1]).expect("it was made in the last place");
        assert!(text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit()));
        let found = ControlToken::find_or_make(&files).expect("it is there");
        assert!(made.is(text.as_bytes()) && found.is(text.as_bytes()));
        assert!(!found.is(b"") && !found.is(&text.as_bytes()[1..]) && !format!("{found:?}").contains(&text));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&files[1]).expect("it was made").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600);
        }
    }

    #[test]
    fn an_old_token_counts_and_an_empty_file_does_not() {
        let dir = TempDir::new("old");
        let files = [dir.0.join("old.token"), dir.0.join("new.token")];
        fs::create_dir_all(&dir.0).expect("the temporary folder can be written");
        fs::write(&files[0], " \n").expect("it is ours");
        fs::write(&files[1], " hunter2\n").expect("it is ours");
        assert!(ControlToken::find_or_make(&files).expect("the second has one").is(b"hunter2"));
        fs::write(&files[0], "older\n").expect("it is ours");
        assert!(ControlToken::find_or_make(&files).expect("the first has one").is(b"older"));
    }

    #[test]
    fn a_folder_that_can_not_be_made_is_named() {
        let error = ControlToken::find_or_make(&["/dev/null/x/llm.token".into()]).expect_err("no folder");
        assert!(error.to_string().contains("/dev/null/x/llm.token"));
        assert!(matches!(ControlToken::find_or_make(&[]), Err(TokenError::Nowhere)));
    }
}
