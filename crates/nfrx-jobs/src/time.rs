//! Times that outlive a process: milliseconds since 1970, shown as RFC 3339.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment of wall time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Millis(pub(crate) u64);

impl Millis {
    /// Of the system's time; 1970 for what lies before it.
    pub(crate) fn of(time: SystemTime) -> Self {
        Self(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// The time from `earlier` to this one; zero if that is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// As a database keeps it.
    pub(crate) fn to_sql(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl std::ops::Add<Duration> for Millis {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

/// RFC 3339 in UTC, whole seconds (jobs contract §2.1).
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).fmt(f)
    }
}

/// RFC 3339 with any offset; 1970 for what lies before it.
impl FromStr for Millis {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::of(Timestamp::from_str(text)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_rfc_3339() {
        let time = Millis(1_764_172_800_999);
        assert_eq!(time.to_string(), "2025-11-26T16:00:00Z");
        let read = |text: &str| text.parse::<Millis>().ok();
        assert_eq!(read("2025-11-26T16:00:00Z"), Some(Millis(1_764_172_800_000)));
        // As many languages write it. Seen to fail: with a reader that takes only `Z`.
        assert_eq!(read("2025-11-26T18:00:00.5+02:00"), Some(Millis(1_764_172_800_500)));
        assert_eq!(read("1960-01-01T00:00:00Z"), Some(Millis(0)));
        assert_eq!(read("2025-11-26T16:00:00"), None, "of which place?");
        assert_eq!(read("tomorrow"), None);
        assert!(Millis(u64::MAX).to_string().starts_with("9999-12-3"));
        assert_eq!(Millis(5).since(Millis(9)), Duration::ZERO);
    }
}
