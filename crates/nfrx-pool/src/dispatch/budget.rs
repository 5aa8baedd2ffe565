//! The budget of retries after a backend could not be reached: when all are down, trying
//! them all for every request makes it worse (decision 10).

use std::time::Duration;

use nfrx_spi::Moment;

/// Over how long requests and retries are compared.
const WINDOW: Duration = Duration::from_secs(10);
/// Retries allowed in a window whatever the number of requests.
const FLOOR: f64 = 3.0;
/// Retries allowed per request of the window.
const SHARE: f64 = 0.1;

/// Counts requests and retries of about the last ten seconds: the running window, and of
/// the one before the part that the ten seconds still reach.
#[derive(Debug)]
pub(crate) struct Budget {
    start: Moment,
    now: Counts,
    before: Counts,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    requests: u32,
    retries: u32,
}

impl Budget {
    pub(crate) fn new(now: Moment) -> Self {
        Self { start: now, now: Counts::default(), before: Counts::default() }
    }

    pub(crate) fn note_request(&mut self, now: Moment) {
        self.roll(now);
        self.now.requests = self.now.requests.saturating_add(1);
    }

    /// Counts a retry, if there is budget for it.
    pub(crate) fn try_retry(&mut self, now: Moment) -> bool {
        self.roll(now);
        let reach = 1.0 - now.since(self.start).as_secs_f64() / WINDOW.as_secs_f64();
        let sum = |of: fn(&Counts) -> u32| f64::from(of(&self.now)) + f64::from(of(&self.before)) * reach;
        let (requests, retries) = (sum(|counts| counts.requests), sum(|counts| counts.retries));
        let allowed = retries + 1.0 <= FLOOR + SHARE * requests;
        self.now.retries += u32::from(allowed);
        allowed
    }

    fn roll(&mut self, now: Moment) {
        let passed = now.since(self.start);
        if passed < WINDOW {
            return;
        }
        self.before = if passed < 2 * WINDOW { self.now } else { Counts::default() };
        self.now = Counts::default();
        self.start = if passed < 2 * WINDOW { self.start + WINDOW } else { now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    fn granted(budget: &mut Budget, asked: u32, now: Moment) -> usize {
        (0..asked).filter(|_| budget.try_retry(now)).count()
    }

    #[test]
    fn a_quiet_pool_may_retry_three_times_in_ten_seconds() {
        let mut budget = Budget::new(at(0));
        assert_eq!(granted(&mut budget, 10, at(1)), 3);
        assert_eq!(granted(&mut budget, 10, at(9)), 0);
        assert_eq!(granted(&mut budget, 10, at(30)), 3);
    }

    #[test]
    fn a_busy_pool_may_retry_a_tenth_of_its_requests_more() {
        let mut budget = Budget::new(at(0));
        (0..100).for_each(|_| budget.note_request(at(2)));
        assert_eq!(granted(&mut budget, 100, at(3)), 13);
        // Half of the window before still counts, requests and retries alike.
        assert_eq!(granted(&mut budget, 100, at(15)), 1);
    }
}
