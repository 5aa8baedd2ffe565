//! How requests ended, counted, and what must never happen, told in full.

use std::sync::{Arc, Mutex, PoisonError};

use nfrx_testkit::fault::Tally;

/// So many violations are told; the rest is only counted.
const TOLD_MAX: usize = 20;

/// Collects from all tasks. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Outcomes {
    /// Requests by how they ended.
    pub(crate) ends: Tally,
    /// Faults by kind.
    pub(crate) faults: Tally,
    violations: Arc<Mutex<Violations>>,
}

#[derive(Default)]
struct Violations {
    count: usize,
    told: Vec<String>,
}

impl Outcomes {
    /// Something that must never happen.
    pub(crate) fn violate(&self, what: String) {
        let mut violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        violations.count += 1;
        if violations.told.len() < TOLD_MAX {
            violations.told.push(what);
        }
    }

    /// How many violations there were, and the first of them.
    pub(crate) fn violations(&self) -> (usize, Vec<String>) {
        let violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        (violations.count, violations.told.clone())
    }
}
