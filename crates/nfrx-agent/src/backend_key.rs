//! The key that a backend wants of its agent.

use std::fmt;

use http::HeaderValue;
use nfrx_spi::Secret;

/// A bearer key, ready to be sent; never shown.
#[derive(Clone)]
pub struct BackendKey(HeaderValue);

/// A key that no header can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must hold visible ASCII characters only")]
pub struct BackendKeyError;

impl BackendKey {
    /// Takes a key; spaces around it are cut off.
    pub fn new(key: &Secret) -> Result<Self, BackendKeyError> {
        let mut value =
            HeaderValue::try_from(format!("Bearer {}", key.reveal().trim())).map_err(|_| BackendKeyError)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of `Authorization`.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
