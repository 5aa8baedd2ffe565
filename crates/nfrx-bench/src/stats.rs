//! Plain statistics: what stands for many values, and how far they lie apart.

use std::time::Duration;

use serde::Serialize;

/// The value below which a share of all values lies; `share` in 0..=1. `None` without values.
///
/// The nearest rank, so that the result is a value that occurred.
pub(crate) fn quantile(values: &mut [Duration], share: f64) -> Option<Duration> {
    let last = values.len().checked_sub(1)?;
    let rank = (share.clamp(0.0, 1.0) * values.len() as f64).ceil() as usize;
    let (_, value, _) = values.select_nth_unstable(rank.saturating_sub(1).min(last));
    Some(*value)
}

/// One figure over several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Half of the rounds are below; the mean of the two in the middle of an even number.
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Summary {
    /// `None` without values. Values are finite.
    pub(crate) fn new(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, least, most, rounds: values.len() })
    }

    /// Half the distance between the extremes, relative to the median: 0.1 is "± 10 %".
    pub(crate) fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.most - self.least) / 2.0 / self.median.abs() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Summary, quantile};

    #[track_caller]
    fn check_quantile(micros: &[u64], share: f64, expected: Option<u64>) {
        let mut values: Vec<_> = micros.iter().copied().map(Duration::from_micros).collect();
        assert_eq!(quantile(&mut values, share), expected.map(Duration::from_micros), "{micros:?}");
    }

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        check_quantile(&[], 0.5, None);
        check_quantile(&[7], 0.99, Some(7));
        check_quantile(&[4, 1, 3, 2], 0.5, Some(2));
        // Seen to fail: with the rank rounded down.
        check_quantile(&[5, 1, 4, 2, 3], 0.5, Some(3));
        check_quantile(&[1, 2, 3], 0.0, Some(1));
        check_quantile(&[1, 2, 3], 1.0, Some(3));
        check_quantile(&(1..=1000).rev().collect::<Vec<_>>(), 0.99, Some(990));
    }

    #[test]
    fn a_median_ignores_one_bad_round() {
        let summary = Summary::new(vec![10.0, 900.0, 11.0]).unwrap();
        assert_eq!((summary.median, summary.least, summary.most), (11.0, 10.0, 900.0));
        assert_eq!(Summary::new(vec![1.0, 2.0, 4.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Summary::new(Vec::new()), None);
    }

    #[test]
    fn the_spread_is_relative_to_the_median() {
        assert_eq!(Summary::new(vec![90.0, 100.0, 110.0]).unwrap().spread(), 0.1);
        assert_eq!(Summary::new(vec![0.0, 0.0]).unwrap().spread(), 0.0);
        assert_eq!(Summary::new(vec![5.0]).unwrap().spread(), 0.0);
    }
}
