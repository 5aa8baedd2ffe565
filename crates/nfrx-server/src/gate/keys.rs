//! The keys of one side.

use std::sync::Arc;

use nfrx_spi::Scopes;

use super::digest::Digest;

/// All keys of a side at one moment.
#[derive(Default)]
pub(super) struct Keys(Vec<Key>);

/// One key and what it allows.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) digest: Digest,
    pub(super) grant: Grant,
}

/// What a known key gives its holder.
#[derive(Clone)]
pub(super) struct Grant {
    /// `None` for a nameless key.
    pub(super) name: Option<Arc<str>>,
    pub(super) scopes: Arc<Scopes>,
}

impl Grant {
    /// What `ADMIN_KEY` gives.
    pub(super) fn admin() -> Self {
        Self { name: None, scopes: Arc::new(Scopes { admin: true, ..Scopes::default() }) }
    }

    /// What a nameless key gives: everything but admin (decision 18).
    pub(super) fn nameless() -> Self {
        Self { name: None, scopes: Arc::default() }
    }
}

impl Keys {
    /// The nameless key, if there is one, and the named ones.
    pub(super) fn new(nameless: Option<&Key>, named: Vec<Key>) -> Self {
        Self(nameless.cloned().into_iter().chain(named).collect())
    }

    /// What the key with this digest gives. Every key is compared.
    pub(super) fn grant(&self, digest: &Digest) -> Option<Grant> {
        let mut found = None;
        for key in &self.0 {
            if key.digest.same(digest) {
                found = Some(&key.grant);
            }
        }
        found.cloned()
    }

    /// The key of this name.
    pub(super) fn named(&self, name: &str) -> Option<Key> {
        self.0.iter().find(|key| key.grant.name.as_deref() == Some(name)).cloned()
    }

    /// Whether `held`, a named key, is still here and lets agents do what it did.
    pub(super) fn allow_as_before(&self, held: &Key) -> bool {
        let (before, name) = (&held.grant.scopes, held.grant.name.as_deref());
        self.0.iter().any(|key| {
            let now = &key.grant.scopes;
            key.digest.same(&held.digest)
                && key.grant.name.as_deref() == name
                && (&now.services, &now.workers) == (&before.services, &before.workers)
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
