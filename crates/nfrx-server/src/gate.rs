//! The gate: who may pass, judged in one place for every route.
//!
//! Two sides, clients and agents, each with keys and roles of its own; no right of one
//! is a right of the other. A side with neither serves this machine only, unless
//! `INSECURE_OPEN` says otherwise (decision 17). Keys are compared as digests, in
//! constant time, against every key (KD-19). A browser shows its key once and a session's
//! cookie from then on, which counts for looking at the server and for its operator's
//! actions only.

mod browser;
pub(crate) mod digest;
mod failures;
mod keys;
mod keys_file;
mod login;
mod peer;
mod sessions;
mod side;
mod tunnels;

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use nfrx_spi::{Access, ApiError, Caller, KEY_HEADER, Scopes};
use tracing::warn;

use crate::config::LoginConfig;
use crate::error::StartError;
use digest::Digest;
use failures::Failures;
use keys::Grant;
use sessions::Sessions;
use side::Side;

pub(crate) use browser::Rights;
pub(crate) use login::shows_credential;
pub(crate) use peer::{Peer, Proxies};
pub(crate) use sessions::{COOKIE_NAME, LIFETIME};
pub(crate) use tunnels::{KeyTunnels, Place};

/// Judges requests.
pub(crate) struct Gate {
    api: Side,
    workers: Side,
    admin: Option<Digest>,
    insecure_open: bool,
    failures: Failures,
    tunnels: Arc<KeyTunnels>,
    sessions: Sessions,
}

impl Gate {
    /// A gate for this login, with so many tunnels for each named key; reads the files of
    /// keys.
    pub(crate) fn new(login: &LoginConfig, tunnels_per_key_max: usize) -> Result<Self, StartError> {
        let gate = Self {
            api: Side::new("public API", "API_KEY", &login.api)?,
            workers: Side::new("workers'", "CLIENT_KEY", &login.workers)?,
            admin: login.admin_key.as_ref().map(|key| Digest::of(key.reveal())),
            insecure_open: login.insecure_open,
            failures: Failures::default(),
            tunnels: Arc::new(KeyTunnels::new(tunnels_per_key_max)),
            sessions: Sessions::default(),
        };
        gate.say_what_is_open();
        Ok(gate)
    }

    fn say_what_is_open(&self) {
        for side in [&self.api, &self.workers] {
            if side.is_unset() && self.insecure_open {
                warn!(side = side.name, "INSECURE_OPEN: this side has no key and serves everybody");
            }
        }
    }

    /// The connections of agents by key, for metrics.
    pub(crate) fn tunnels(&self) -> Arc<KeyTunnels> {
        Arc::clone(&self.tunnels)
    }

    /// Reads files of keys again that have changed.
    pub(crate) fn reload(&self) {
        self.api.reload();
        self.workers.reload();
    }

    /// Judges a request for a route of `plugin` (empty for the server itself).
    pub(crate) fn judge(
        &self,
        access: Access,
        plugin: &str,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<Caller, ApiError> {
        let judged = self.judge_quietly(access, plugin, peer, headers);
        if matches!(judged, Err(ApiError::Unauthorized(_))) && key(headers).is_some() {
            self.failures.note(peer.client)?;
        }
        judged
    }

    /// The same, with a wrong key counted nowhere.
    fn judge_quietly(
        &self,
        access: Access,
        plugin: &str,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<Caller, ApiError> {
        let sides: &[&Side] = match access {
            // Of the latter, the front asks for the login itself.
            Access::Open | Access::Plugin => return Ok(caller(peer, None)),
            Access::Client => &[&self.api],
            Access::Worker => &[&self.workers],
            Access::Either | Access::Admin => &[&self.api, &self.workers],
        };
        let key = key(headers);
        // A right key passes whatever else comes from its address, so that a stranger
        // behind the same address can't lock its holder out.
        let digest = match key {
            Some(key) => Some(Digest::of(key)),
            None => self.session_key(access, plugin, peer, headers),
        };
        if let Some(grant) = digest.and_then(|digest| self.grant_of(access, sides, &digest)) {
            return permit(access, plugin, grant).map(|grant| caller(peer, Some(grant)));
        }
        if access != Access::Admin && sides.iter().any(|side| self.admits_without_key(side, peer, headers)) {
            return Ok(caller(peer, None));
        }
        Err(ApiError::Unauthorized(self.hint(access, sides, peer, key.is_some())))
    }

    /// The key that a browser's session stands for, where sessions count: with the server's
    /// own routes and an operator's actions, asked by a page of ours.
    fn session_key(&self, access: Access, plugin: &str, peer: &Peer, headers: &HeaderMap) -> Option<Digest> {
        let counts = access == Access::Admin || (access == Access::Client && plugin.is_empty());
        if counts && peer.is_own_page { self.sessions.key(headers) } else { None }
    }

    fn grant_of(&self, access: Access, sides: &[&Side], digest: &Digest) -> Option<Grant> {
        // No early end: the time must not tell which key was close.
        let mut found = None;
        for side in sides {
            let grant = side.keys().grant(digest);
            found = found.or(grant);
        }
        let is_admin = self.admin.as_ref().is_some_and(|admin| admin.same(digest));
        if is_admin && access != Access::Worker { Some(Grant::admin()) } else { found }
    }

    fn admits_without_key(&self, side: &Side, peer: &Peer, headers: &HeaderMap) -> bool {
        if side.is_unset() {
            return self.insecure_open || (peer.is_local && peer.host_is_private);
        }
        peer.trusted && side.has_role(headers)
    }

    /// What the refused caller, or who runs the server, can do.
    fn hint(&self, access: Access, sides: &[&Side], peer: &Peer, key_given: bool) -> String {
        if access == Access::Admin {
            return "this needs ADMIN_KEY or a key with the admin scope".to_owned();
        }
        match sides.iter().find(|side| side.is_unset()) {
            Some(_) if peer.is_local => {
                "without a key only local host names are served; add this one to ALLOWED_HOSTS".to_owned()
            }
            Some(side) => {
                let hint = side.hint();
                if side.first_refusal() {
                    warn!(peer = %peer.client, side = side.name, "refused: {hint}");
                }
                hint
            }
            None if key_given => "the key is not known here".to_owned(),
            None => "send the key as Authorization: Bearer KEY".to_owned(),
        }
    }
}

/// What the key may do with the route.
fn permit(access: Access, plugin: &str, grant: Grant) -> Result<Grant, ApiError> {
    if access == Access::Admin && !grant.scopes.admin {
        return Err(ApiError::Forbidden("this needs ADMIN_KEY or a key with the admin scope".to_owned()));
    }
    if !plugin.is_empty() && !grant.scopes.allows_service(plugin) {
        return Err(ApiError::Forbidden(format!("this key may not use `{plugin}`")));
    }
    Ok(grant)
}

fn caller(peer: &Peer, grant: Option<Grant>) -> Caller {
    let (key, scopes) =
        grant.map_or_else(|| (None, Arc::new(Scopes::default())), |grant| (grant.name, grant.scopes));
    Caller { peer: peer.address, key, scopes }
}

/// The key that was shown: in the header made for it, else as bearer.
fn key(headers: &HeaderMap) -> Option<&str> {
    match headers.get(KEY_HEADER) {
        Some(value) => value.to_str().ok().map(str::trim).filter(|key| !key.is_empty()),
        None => bearer(headers),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION).and_then(bearer_of)
}

/// The key of `Authorization: Bearer KEY`; the scheme in any case, white space around
/// the key aside (HTTP contract §1.4).
fn bearer_of(value: &HeaderValue) -> Option<&str> {
    let value = value.to_str().ok()?;
    let (scheme, key) = value.split_at_checked("bearer ".len())?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer ") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests;
