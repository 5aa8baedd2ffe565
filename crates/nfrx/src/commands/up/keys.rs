//! The keys that `up` makes once and keeps.

use std::path::Path;

use anyhow::Context;
use nfrx_spi::Secret;
use serde_json::{Value, json};

use crate::random_key::random_key;
use crate::state_dir;

/// One key for clients, one for the agent.
pub(super) struct Keys {
    pub(super) api: Secret,
    pub(super) client: Secret,
}

/// Reads the keys from `file`, or makes and writes them.
pub(super) fn load_or_make(file: &Path) -> anyhow::Result<Keys> {
    match std::fs::read_to_string(file) {
        Ok(text) => parse(&text).with_context(|| {
            format!("{} does not hold two keys; remove it and `nfrx up` makes new ones", file.display())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (api, client) = (random_key()?, random_key()?);
            state_dir::write_private(
                file,
                &format!("{}\n", json!({ "api_key": api, "client_key": client })),
            )?;
            Ok(Keys { api: Secret::new(api), client: Secret::new(client) })
        }
        Err(error) => Err(error).with_context(|| format!("can't read {}", file.display())),
    }
}

fn parse(text: &str) -> Option<Keys> {
    let value: Value = serde_json::from_str(text).ok()?;
    let key = |name: &str| value[name].as_str().filter(|key| key.len() >= 16).map(Secret::new);
    Some(Keys { api: key("api_key")?, client: key("client_key")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_a_broken_file_is_named() {
        let dir = std::env::temp_dir().join(format!("nfrx-keys-{}", std::process::id()));
        let file = dir.join("up.json");
        let made = load_or_make(&file).expect("the temporary folder can be written");
        let read = load_or_make(&file).expect("it was written");
        assert!(made.api == read.api && made.client == read.client && made.api != made.client);
        std::fs::write(&file, "{}").expect("it is ours");
        let error = load_or_make(&file).err().expect("no keys in it").to_string();
        std::fs::remove_dir_all(&dir).expect("it is ours");
        assert!(error.contains("remove it"), "{error}");
    }
}
