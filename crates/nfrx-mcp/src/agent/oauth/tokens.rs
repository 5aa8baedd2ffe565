//! The token of one server, shared by all its requests.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::HeaderValue;
use nfrx_agent::client::BackendClient;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::fetch::{Granted, fetch};
use super::{OAuthSettings, TokenError, file};

/// So much before its end a token is fetched anew, or a tenth of its life before, if that is
/// less: a request takes time to arrive.
const EARLY: Duration = Duration::from_secs(30);

/// A failure is believed for so long: those who waited for the same fetch share it, and an
/// endpoint in trouble is not asked once a request.
const FAILURE_HELD: Duration = Duration::from_secs(2);

/// Gives out tokens. Clones share them.
#[derive(Clone)]
pub(in crate::agent) struct Tokens(Arc<Inner>);

struct Inner {
    settings: OAuthSettings,
    client: BackendClient,
    in_form: AtomicBool,
    /// Held over a fetch: who needs a token meanwhile waits for the same one.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Held>,
    failure: Option<(Instant, TokenError)>,
    fetched: u64,
}

struct Held {
    bearer: HeaderValue,
    until: Option<Instant>,
    number: u64,
}

/// A token to be sent.
pub(in crate::agent) struct Token {
    /// The value of `Authorization`.
    pub(in crate::agent) bearer: HeaderValue,
    /// It was fetched for this very request: if it is refused, another will be as well.
    pub(in crate::agent) is_new: bool,
    number: u64,
}

impl Tokens {
    /// None yet but the one in the file, if it is good; `client` speaks to the endpoint's
    /// origin. Blocks.
    pub(in crate::agent) fn new(client: BackendClient, settings: OAuthSettings) -> Self {
        let mut state = State::default();
        if let Some(path) = &settings.token_file {
            match file::read(path, &settings) {
                Ok(Some(granted)) => drop(state.keep(&granted)),
                Ok(None) => {}
                Err(error) => {
                    warn!(file = %path.display(), %error, "the file of the token can't be read, fetching another");
                }
            }
        }
        let in_form = AtomicBool::new(false);
        Self(Arc::new(Inner { settings, client, in_form, state: Mutex::new(state) }))
    }

    /// A token that is good now; fetched first if there is none.
    pub(in crate::agent) async fn get(&self) -> Result<Token, TokenError> {
        let Inner { settings, client, in_form, state } = &*self.0;
        let mut state = state.lock().await;
        if let Some(Held { bearer, number, .. }) = state.current.as_ref().filter(|held| held.is_good()) {
            return Ok(Token { bearer: bearer.clone(), is_new: false, number: *number });
        }
        if let Some((_, error)) = state.failure.as_ref().filter(|(at, _)| at.elapsed() < FAILURE_HELD) {
            return Err(error.clone());
        }
        match fetch(client, settings, in_form).await {
            Ok(granted) => {
                debug!(endpoint = %settings.token_url, "a token was fetched");
                let token = state.keep(&granted).ok_or_else(|| TokenError::Useless {
                    endpoint: settings.token_url.to_string(),
                    problem: "it has no token that a header takes",
                })?;
                self.write(granted).await;
                Ok(token)
            }
            Err(error) => {
                warn!(%error, "no token for the MCP server");
                state.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The server has refused this token: the next request gets another.
    pub(in crate::agent) async fn refused(&self, token: &Token) {
        let mut state = self.0.state.lock().await;
        state.current.take_if(|held| held.number == token.number);
    }

    /// Keeps it for the next start. That it can't be kept is no failure of a request.
    async fn write(&self, granted: Granted) {
        let Some(path) = self.0.settings.token_file.clone() else { return };
        let inner = Arc::clone(&self.0);
        let writing = tokio::task::spawn_blocking(move || {
            if let Err(error) = file::write(&path, &inner.settings, &granted) {
                warn!(file = %path.display(), %error, "the token can't be kept in its file");
            }
        });
        // It does not panic.
        let _ = writing.await;
    }
}

impl State {
    fn keep(&mut self, granted: &Granted) -> Option<Token> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", granted.token.reveal())).ok()?;
        bearer.set_sensitive(true);
        let until = granted.lifetime.map(|lifetime| Instant::now() + lifetime - EARLY.min(lifetime / 10));
        self.fetched += 1;
        let number = self.fetched;
        self.current = Some(Held { bearer: bearer.clone(), until, number });
        self.failure = None;
        Some(Token { bearer, is_new: true, number })
    }
}

impl Held {
    fn is_good(&self) -> bool {
        self.until.is_none_or(|until| until > Instant::now())
    }
}
