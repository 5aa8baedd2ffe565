//! Sessions of browsers: a key is shown once, then a random cookie stands for it
//! (decision 34).
//!
//! A session remembers the digest of its key, not what the key allows: a key that is
//! revoked ends its sessions, and one that gains a scope gains it there too.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::COOKIE;
use tokio::time::Instant;

use super::digest::Digest;

/// How long a session lasts, however much it is used.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// How many there are at once; one more ends the oldest.
const SESSIONS_MAX: usize = 256;
/// The cookie's name.
pub(crate) const COOKIE_NAME: &str = "nfrx_session";

/// What a browser keeps. Doesn't print itself.
pub(crate) struct Token(String);

impl Token {
    /// The cookie's value.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Digest, Session>>);

struct Session {
    key: Digest,
    began: Instant,
}

/// What opening a session did.
pub(super) struct Opened {
    pub(super) token: Token,
    /// Another session had to end for it.
    pub(super) displaced: bool,
}

impl Sessions {
    /// Begins a session for the holder of this key; `None` when the system has no
    /// randomness to give.
    pub(super) fn open(&self, key: Digest) -> Option<Opened> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).ok()?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sessions = self.lock();
        sessions.retain(|_, session| !session.is_over());
        let oldest = sessions.iter().min_by_key(|(_, session)| session.began).map(|(id, _)| id.clone());
        let displaced = oldest.filter(|_| sessions.len() >= SESSIONS_MAX);
        if let Some(oldest) = &displaced {
            sessions.remove(oldest);
        }
        sessions.insert(Digest::of(&token), Session { key, began: Instant::now() });
        Some(Opened { token: Token(token), displaced: displaced.is_some() })
    }

    /// The digest of the key that the cookie stands for.
    pub(super) fn key(&self, headers: &HeaderMap) -> Option<Digest> {
        let id = Digest::of(token(headers)?);
        let sessions = self.lock();
        sessions.get(&id).filter(|session| !session.is_over()).map(|session| session.key.clone())
    }

    /// Ends the session of the cookie, if there is one.
    pub(super) fn close(&self, headers: &HeaderMap) {
        if let Some(token) = token(headers) {
            self.lock().remove(&Digest::of(token));
        }
    }

    /// How many there are, those not yet swept away included.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_over(&self) -> bool {
        self.began.elapsed() >= LIFETIME
    }
}

/// The cookie's value, if a browser sent one.
fn token(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE_NAME && !value.is_empty())
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with_cookie(token: &Token) -> HeaderMap {
        let text = format!("theme=dark; {COOKIE_NAME}={}", token.reveal());
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&text).expect("a value"))])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_stands_for_its_key_until_it_is_over() {
        let sessions = Sessions::default();
        let open = || sessions.open(Digest::of("alpha")).expect("randomness").token;
        let (first, second) = (with_cookie(&open()), with_cookie(&open()));
        assert!(sessions.key(&first).is_some_and(|key| key.same(&Digest::of("alpha"))));
        sessions.close(&first);
        assert!(sessions.key(&first).is_none() && sessions.key(&second).is_some());
        tokio::time::advance(LIFETIME).await;
        // Seen to fail: without the look at the time.
        assert!(sessions.key(&second).is_none());
        assert!(sessions.key(&HeaderMap::new()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_session_too_many_ends_the_oldest() {
        let sessions = Sessions::default();
        let mut cookies = Vec::new();
        for nth in 0..=SESSIONS_MAX {
            tokio::time::advance(Duration::from_millis(1)).await;
            let opened = sessions.open(Digest::of("alpha")).expect("randomness");
            assert_eq!(opened.displaced, nth == SESSIONS_MAX);
            cookies.push(with_cookie(&opened.token));
        }
        assert_eq!(sessions.len(), SESSIONS_MAX);
        // Seen to fail: with any session displaced.
        assert!(sessions.key(&cookies[0]).is_none() && sessions.key(&cookies[1]).is_some());
    }
}
