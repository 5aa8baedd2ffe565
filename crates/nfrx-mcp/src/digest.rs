//! Digests of secrets that cross the tunnel or are kept: of a server's own token, and of
//! session ids.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The SHA-256 digest of a token, in hexadecimal where it is written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a token's text.
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether it is the digest of this token, in constant time.
    pub(crate) fn is_of(&self, token: &str) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

/// A digest that is none.
#[derive(Debug, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub(crate) struct DigestError;

impl TryFrom<String> for TokenDigest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(DigestError);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(DigestError);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Stands for a session id wherever it is only compared: half of an id's digest is enough
/// to tell sessions apart, and opens none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionMark(u128);

impl SessionMark {
    /// The mark of a session id.
    pub(crate) fn of(session_id: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(session_id).into();
        Self(digest[..16].iter().fold(0, |mark, byte| mark << 8 | u128::from(*byte)))
    }
}

impl Serialize for SessionMark {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for SessionMark {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written_and_shown_to_nobody() {
        let digest = TokenDigest::of("hunter2");
        let text = serde_json::to_string(&digest).expect("plain data");
        let read: TokenDigest = serde_json::from_str(&text).expect("our own");
        assert!(read.is_of("hunter2") && !read.is_of("hunter3"));
        assert_eq!(text, "\"f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7\"");
        assert!(!format!("{digest:?}").contains("f52f"));
        for bad in ["\"f5\"", &format!("\"{}\"", "g".repeat(64)), "7"] {
            assert!(serde_json::from_str::<TokenDigest>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mark_tells_sessions_apart() {
        let mark = SessionMark::of(b"s-1");
        let text = serde_json::to_string(&mark).expect("plain data");
        assert_eq!(serde_json::from_str::<SessionMark>(&text).expect("our own"), mark);
        assert_ne!(SessionMark::of(b"s-2"), mark);
    }
}
