//! The file in which a token outlives its agent: read at start, written whole or not at all,
//! for its owner only.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nfrx_runtime::private_file;
use nfrx_spi::Secret;
use serde::{Deserialize, Serialize};

use super::OAuthSettings;
use super::fetch::Granted;
use crate::digest::TokenDigest;

/// A longer file holds no token.
const FILE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Kept {
    access_token: String,
    /// In seconds since 1970; missing if nobody said.
    expires_at: Option<u64>,
    /// Stands for who got it from whom: a token of other settings is not ours.
    client: TokenDigest,
}

fn client(settings: &OAuthSettings) -> TokenDigest {
    let OAuthSettings { token_url, client_id, scopes, .. } = settings;
    TokenDigest::of(&format!("{token_url}\n{client_id}\n{scopes}"))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The token in the file, if it is one of these settings and still good. Blocks.
pub(super) fn read(path: &Path, settings: &OAuthSettings) -> io::Result<Option<Granted>> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too long"));
    }
    // The error's own text may quote the file.
    let kept: Kept = serde_json::from_slice(&std::fs::read(path)?)
        .map_err(|_| io::Error::other("it is none that an agent has written"))?;
    let lifetime = kept.expires_at.map(|at| Duration::from_secs(at).saturating_sub(now()));
    let is_ours = kept.client == client(settings) && lifetime != Some(Duration::ZERO);
    Ok(is_ours.then(|| Granted { token: Secret::new(kept.access_token), lifetime }))
}

/// Keeps a token. Blocks.
pub(super) fn write(path: &Path, settings: &OAuthSettings, granted: &Granted) -> io::Result<()> {
    let kept = Kept {
        access_token: granted.token.reveal().to_owned(),
        expires_at: granted.lifetime.map(|lifetime| (now() + lifetime).as_secs()),
        client: client(settings),
    };
    private_file::write(path, &serde_json::to_vec(&kept)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Endpoint;

    fn settings(client_id: &str) -> OAuthSettings {
        OAuthSettings {
            token_url: Endpoint::parse("https://h/token").expect("a good address"),
            client_id: client_id.to_owned(),
            client_secret: None,
            scopes: String::new(),
            token_file: None,
        }
    }

    // Seen to fail: without the client's digest, with the mode left to the system, and with an
    // expired token taken.
    #[test]
    fn a_token_is_found_again_by_the_same_client_while_it_is_good() {
        let folder = std::env::temp_dir().join(format!("nfrx-mcp-oauth-file-{}", std::process::id()));
        let path = folder.join("token.json");
        let (ours, granted) = (settings("den"), Granted { token: Secret::new("t"), lifetime: None });
        assert_eq!(read(&path, &ours).expect("no file is fine"), None);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        std::fs::write(path.with_extension("nfrx-part"), "left by a crash").expect("it is ours");
        write(&path, &ours, &granted).expect("the folder can be written");
        assert_eq!(read(&path, &ours).expect("our own"), Some(granted.clone()));
        assert_eq!(read(&path, &settings("other")).expect("readable"), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let short = Granted { lifetime: Some(Duration::from_secs(3600)), ..granted.clone() };
        write(&path, &ours, &short).expect("a file is replaced");
        let found = read(&path, &ours).expect("our own").expect("it is good for an hour");
        assert!(found.lifetime.is_some_and(|left| left > Duration::from_secs(3000)));
        write(&path, &ours, &Granted { lifetime: Some(Duration::ZERO), ..granted }).expect("replaced");
        assert_eq!(read(&path, &ours).expect("our own"), None);
        std::fs::write(&path, "{\"access_token\":\"hunter2\"}").expect("it is ours");
        let error = read(&path, &ours).expect_err("none of ours").to_string();
        std::fs::remove_dir_all(&folder).expect("it is ours");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
