//! What is hot, as operations whose instructions can be counted.
//!
//! A workload prepares what it needs and then does one thing again and again, the same on
//! every run: no threads, no clock, no input but its own. Each operation checks what came
//! of it, so that none is cheap because it failed. `cargo xtask counts` runs the program
//! under valgrind and compares with what `recorded.txt` says. `cargo bench` times the
//! pool as it grows. Not here: whole requests, which `nfrx-bench` measures.

mod llm;
pub mod pool;
mod v1;

/// One hot thing.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Its name in the record.
    pub name: &'static str,
    /// How many operations are counted, enough to even out what is drawn at each start,
    /// such as the seeds of hash tables.
    pub operations: u64,
    /// Gets ready, and gives the operation.
    pub prepare: fn() -> Operation,
}

/// Does the thing once; panics if it went wrong.
pub type Operation = Box<dyn FnMut()>;

/// All of them, in the order of a request's way.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "llm-request-2k", operations: 2_000, prepare: || llm::request(2 << 10) },
    Workload { name: "llm-request-64k", operations: 200, prepare: || llm::request(64 << 10) },
    Workload { name: "slot-of-10000-workers", operations: 10_000, prepare: pool::take },
    Workload { name: "slot-to-next-of-1000", operations: 5_000, prepare: pool::hand_over },
    Workload { name: "llm-answer-100-events", operations: 500, prepare: llm::answer },
    Workload { name: "v1-request-write", operations: 1_000, prepare: v1::write_request },
    Workload { name: "v1-request-read", operations: 1_000, prepare: v1::read_request },
    Workload { name: "v1-head-write", operations: 1_000, prepare: v1::write_head },
    Workload { name: "v1-head-read", operations: 1_000, prepare: v1::read_head },
    Workload { name: "v1-chunk-write", operations: 5_000, prepare: v1::write_chunk },
    Workload { name: "v1-chunk-read", operations: 5_000, prepare: v1::read_chunk },
];

/// The workload of this name.
pub fn workload(name: &str) -> Option<Workload> {
    WORKLOADS.iter().copied().find(|workload| workload.name == name)
}

impl Workload {
    /// Gets ready and does the operations. A tenth of them goes ahead uncounted: the first
    /// ones make what is made once.
    pub fn run(&self) {
        // What is drawn among equals is the same on every run.
        fastrand::seed(1);
        let mut operation = (self.prepare)();
        (0..self.operations.div_ceil(10)).for_each(|_| operation());
        counted(self.operations, &mut *operation);
    }
}

/// Here, and in what is called from here, valgrind counts: it knows the function by its name.
#[inline(never)]
fn counted(operations: u64, operation: &mut dyn FnMut()) {
    (0..operations).for_each(|_| operation());
}

#[cfg(test)]
mod tests {
    use super::WORKLOADS;

    // Seen to fail: with the events of an answer left uncounted.
    #[test]
    fn every_operation_does_what_it_says_again_and_again() {
        for workload in WORKLOADS {
            let mut operation = (workload.prepare)();
            (0..3).for_each(|_| operation());
        }
    }
}
