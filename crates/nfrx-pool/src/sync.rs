//! The one lock of a pool, in one place so that a model checker's lock can stand in
//! for it.
//!
//! A panic under the lock can't leave the state half changed in a way that matters
//! more than refusing everybody for ever, so poison is ignored.

use std::sync::PoisonError;

#[cfg(feature = "loom")]
use loom::sync::{Mutex as Lock, MutexGuard};
#[cfg(not(feature = "loom"))]
use std::sync::{Mutex as Lock, MutexGuard};

/// A mutex without poison.
#[derive(Debug)]
pub(crate) struct Mutex<T>(Lock<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Lock::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}
