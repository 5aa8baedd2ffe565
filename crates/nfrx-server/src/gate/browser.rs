//! What a browser asks the gate: to sign in, to sign out, and what it may do.

use http::HeaderMap;
use nfrx_spi::{Access, ApiError, Caller};

use super::digest::Digest;
use super::sessions::Token;
use super::{Gate, Peer};

/// What whoever asks may do here.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    /// Who it is; `None` when it may not even read.
    pub(crate) caller: Option<Caller>,
    /// Whether it may drain, disconnect and cancel.
    pub(crate) may_act: bool,
    /// Whether a session's cookie stands for its key.
    pub(crate) has_session: bool,
}

/// A session that has begun.
pub(crate) struct SignedIn {
    pub(crate) token: Token,
    /// Another session had to end for it.
    pub(crate) displaced: bool,
}

impl Gate {
    /// Begins a session for the holder of this key, if the key may read the state. Wrong
    /// keys count as failed logins.
    pub(crate) fn sign_in(&self, peer: &Peer, key: &str) -> Result<SignedIn, ApiError> {
        let digest = Digest::of(key.trim());
        if self.grant_of(Access::Client, &[&self.api], &digest).is_none() {
            self.failures.note(peer.client)?;
            return Err(ApiError::Unauthorized("the key is not known here".to_owned()));
        }
        let opened = self.sessions.open(digest).ok_or(ApiError::Internal)?;
        Ok(SignedIn { token: opened.token, displaced: opened.displaced })
    }

    /// Ends the session of the cookie.
    pub(crate) fn sign_out(&self, headers: &HeaderMap) {
        self.sessions.close(headers);
    }

    /// What whoever asks may do. Asking is no failed login.
    pub(crate) fn rights(&self, peer: &Peer, headers: &HeaderMap) -> Rights {
        let judge = |access| self.judge_quietly(access, "", peer, headers).ok();
        Rights {
            caller: judge(Access::Client),
            may_act: judge(Access::Admin).is_some(),
            has_session: self.sessions.key(headers).is_some(),
        }
    }

    /// How many sessions there are.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }
}
