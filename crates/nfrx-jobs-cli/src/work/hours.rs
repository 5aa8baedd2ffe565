//! When a worker works.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Time;

/// A part of each day by the machine's own clock: `22:00-06:00` is a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: Time,
    to: Time,
}

/// A text that is no part of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be like 22:00-06:00")]
pub struct HoursError;

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let (from, to) = text.split_once('-').ok_or(HoursError)?;
        let time = |text: &str| text.trim().parse::<Time>().map_err(|_| HoursError);
        let hours = Self { from: time(from)?, to: time(to)? };
        if hours.from == hours.to { Err(HoursError) } else { Ok(hours) }
    }
}

impl Hours {
    /// Whether it works at this time of the day, and how long that stays so.
    pub(super) fn at(&self, now: Time) -> (bool, Duration) {
        let until = |then: Time| {
            let ahead = now.until(then).ok().and_then(|span| span.total(jiff::Unit::Second).ok());
            let seconds = ahead.unwrap_or_default();
            let day = 24.0 * 3600.0;
            Duration::from_secs_f64(if seconds > 0.0 { seconds } else { seconds + day })
        };
        let (ends, begins) = (until(self.to), until(self.from));
        // What comes first tells what is now.
        if ends < begins { (true, ends) } else { (false, begins) }
    }

    /// The same now.
    pub(super) fn now(&self) -> (bool, Duration) {
        self.at(jiff::Zoned::now().time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_spans_midnight_and_a_day_does_not() {
        let at = |hours: &str, now: &str| {
            let hours: Hours = hours.parse().expect("hours");
            let (works, stays) = hours.at(now.parse().expect("a time"));
            (works, stays.as_secs() / 60)
        };
        // Seen to fail: with the two times compared as numbers.
        assert_eq!(at("22:00-06:00", "23:30"), (true, 390));
        assert_eq!(at("22:00-06:00", "05:59"), (true, 1));
        assert_eq!(at("22:00-06:00", "06:00"), (false, 960));
        assert_eq!(at("08:30-17:00", "08:30"), (true, 510));
        assert_eq!(at("08:30-17:00", "17:00"), (false, 930));
        for bad in ["22:00", "22:00-22:00", "25:00-01:00", "a-b", ""] {
            assert_eq!(bad.parse::<Hours>(), Err(HoursError), "{bad}");
        }
    }
}
