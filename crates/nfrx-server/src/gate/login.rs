//! The login as plugins see it that judge for themselves ([`Access::Plugin`]).

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use nfrx_spi::{Access, ApiError, Caller, KEY_HEADER, Login};

use super::digest::Digest;
use super::{Gate, Peer, bearer, bearer_of, caller, key, permit};

impl Gate {
    /// How far the login of clients lets the caller in. Refuses only a known key that may
    /// not use the plugin.
    pub(crate) fn login(
        &self,
        plugin: &str,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<(Caller, Login), ApiError> {
        let shown = key(headers);
        let known = |shown: &str| self.grant_of(Access::Plugin, &[&self.api], &Digest::of(shown));
        if let Some(grant) = shown.and_then(known) {
            let grant = permit(Access::Plugin, plugin, grant)?;
            return Ok((caller(peer, Some(grant)), Login::Key));
        }
        let login = match self.admits_without_key(&self.api, peer, headers) {
            true if self.api.is_unset() => Login::Open,
            true => Login::Role,
            false => {
                Login::Refused(Arc::from(self.hint(Access::Plugin, &[&self.api], peer, shown.is_some())))
            }
        };
        Ok((caller(peer, None), login))
    }

    /// Takes the keys of this server out of the headers, whichever side they are of.
    pub(crate) fn take_own_keys(&self, headers: &mut HeaderMap) {
        headers.remove(KEY_HEADER);
        let holds_ours =
            headers.get_all(AUTHORIZATION).iter().filter_map(bearer_of).any(|shown| self.is_ours(shown));
        if holds_ours {
            headers.remove(AUTHORIZATION);
        }
    }

    /// A plugin refused this caller; an error when too many of its address were.
    pub(crate) fn refused_by_plugin(&self, peer: &Peer) -> Result<(), ApiError> {
        self.failures.note(peer.client)
    }

    fn is_ours(&self, shown: &str) -> bool {
        let digest = Digest::of(shown);
        let of_side = [&self.api, &self.workers].map(|side| side.keys().grant(&digest).is_some());
        let of_admin = self.admin.as_ref().is_some_and(|admin| admin.same(&digest));
        of_side.contains(&true) || of_admin
    }
}

/// Whether a credential was shown, of whatever kind.
pub(crate) fn shows_credential(headers: &HeaderMap) -> bool {
    headers.contains_key(KEY_HEADER) || bearer(headers).is_some()
}
