//! How long to wait before trying again: a schedule with jitter, reset by success.

use std::time::Duration;

/// An agent's waits between dials; the last one repeats. As worker protocol §9.4, but with
/// short waits for longer: a server that is restarted is rejoined within two seconds.
pub const RECONNECT: &[Duration] = &[
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// A connection that stood this long resets the schedule (KD-39).
pub const STABLE_AFTER: Duration = Duration::from_secs(30);

/// A position in a schedule of waits.
#[derive(Debug, Clone)]
pub struct Backoff {
    schedule: &'static [Duration],
    at: usize,
}

impl Backoff {
    /// At the start of `schedule`, which must not be empty.
    pub const fn new(schedule: &'static [Duration]) -> Self {
        Self { schedule, at: 0 }
    }

    /// The next wait, up to a fifth shorter or longer, so that a fleet that lost its
    /// server does not come back in step.
    pub fn next_wait(&mut self) -> Duration {
        let last = self.schedule.len().saturating_sub(1);
        let wait = self.schedule.get(self.at.min(last)).copied().unwrap_or_default();
        self.at = (self.at + 1).min(last);
        wait.mul_f64(0.8 + 0.4 * fastrand::f64())
    }

    /// Back to the start: the connection was stable.
    pub fn reset(&mut self) {
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_within_a_fifth_and_start_again() {
        let mut backoff = Backoff::new(RECONNECT);
        for expected in RECONNECT.iter().chain([&RECONNECT[RECONNECT.len() - 1]; 3]) {
            let wait = backoff.next_wait();
            assert!(
                wait >= expected.mul_f64(0.8) && wait <= expected.mul_f64(1.2),
                "{wait:?} is not {expected:?}"
            );
        }
        // Seen to fail: without the reset the wait stays at 30 s.
        backoff.reset();
        assert!(backoff.next_wait() <= RECONNECT[0].mul_f64(1.2));
    }
}
