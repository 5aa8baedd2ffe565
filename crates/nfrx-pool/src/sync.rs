//! The one lock of a pool, in one place so that a model checker's lock can stand in
//! for it.
//!
//! A panic under the lock can't leave the state half changed in a way that matters
//! more than refusing everybody for ever, so poison is ignored.

use std::sync::{MutexGuard, PoisonError};

/// A mutex without poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
