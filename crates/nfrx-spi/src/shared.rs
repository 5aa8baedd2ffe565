//! What the plugins of one process have in common without knowing each other.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// One value of each type, made by whoever asks first. Handed to every plugin in its
/// [`PluginContext`](crate::PluginContext); called while plugins are built.
///
/// Metric families are why it is there: their names do not tell plugins apart, so all
/// plugins of a process move the same ones. Clones are one.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl Shared {
    /// The value of this type.
    pub fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // The key is the value's type, so it always fits.
        Arc::clone(value).downcast().unwrap_or_default()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn everybody_gets_the_same_value_of_a_type() {
        let shared = Shared::default();
        shared.get::<AtomicU32>().store(7, Ordering::Relaxed);
        // Seen to fail: when each call makes a value.
        assert_eq!(shared.clone().get::<AtomicU32>().load(Ordering::Relaxed), 7);
        assert!(!shared.get::<std::sync::atomic::AtomicBool>().load(Ordering::Relaxed));
    }
}
