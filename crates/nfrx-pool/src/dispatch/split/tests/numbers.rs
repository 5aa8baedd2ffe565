//! A job whose chunks are numbers, and whose workers answer with what they were sent.

use super::*;

pub(super) struct Numbers {
    size: usize,
    merged: BTreeMap<usize, usize>,
    told: Arc<Told>,
}

/// What an observer was told: `worker+count` or `worker-count` per chunk, then the end.
#[derive(Default)]
pub(super) struct Told(pub(super) Mutex<Vec<String>>);

impl Numbers {
    pub(super) fn new(size: usize, told: &Arc<Told>) -> Self {
        Self { size, merged: BTreeMap::new(), told: Arc::clone(told) }
    }
}

impl PartitionJob for Numbers {
    fn size(&self) -> usize {
        self.size
    }

    fn make_chunk(&self, start: usize, count: usize) -> Bytes {
        assert!(count > 0 && start + count <= self.size, "asked beyond the end");
        super::numbers(start..start + count).into()
    }

    fn append(&mut self, answer: Bytes, start: usize, count: usize) -> Result<(), PartitionError> {
        let text = std::str::from_utf8(&answer).map_err(|_| PartitionError::Form("text"))?;
        let found: Vec<usize> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        if found.len() != count {
            return Err(PartitionError::Count { expected: count, found: found.len() });
        }
        for (at, number) in (start..).zip(found) {
            assert!(self.merged.insert(at, number).is_none(), "{at} came twice");
        }
        Ok(())
    }

    fn result(&mut self) -> Bytes {
        let all: Vec<String> = self.merged.values().map(usize::to_string).collect();
        all.join(" ").into()
    }

    fn path(&self) -> &str {
        "/numbers"
    }

    fn observer(&self) -> Option<&dyn PartitionObserver> {
        Some(&*self.told)
    }
}

impl PartitionObserver for Told {
    fn on_chunk_result(&self, worker: &str, _: &str, _: Duration, count: usize, success: bool) {
        let sign = if success { '+' } else { '-' };
        self.0.lock().unwrap().push(format!("{worker}{sign}{count}"));
    }

    fn on_job_result(&self, model: &str, _: Duration, elements: usize, success: bool) {
        self.0.lock().unwrap().push(format!("{model} {elements} {success}"));
    }
}
