//! Whether a text is what its option takes.

use nfrx_spi::{ArgSpec, ArgType, OptionError, parse_bool, parse_duration};

/// Checks `text`, which came from `origin`, against the type of `spec`.
pub(super) fn value(spec: &ArgSpec, origin: &str, text: &str) -> Result<(), OptionError> {
    let text = text.trim();
    let (fits, expected) = match spec.kind {
        ArgType::String => (true, "a text"),
        ArgType::Int => (text.parse::<i64>().is_ok(), "a whole number"),
        ArgType::Number => (text.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
        ArgType::Bool => (parse_bool(text).is_some(), "`true` or `false`"),
        // A leading minus means "without limit" to some options (KD-57); the others
        // refuse it when they read their value.
        ArgType::Duration => {
            (parse_duration(text.strip_prefix('-').unwrap_or(text)).is_some(), "a duration such as `30s`")
        }
    };
    if fits { Ok(()) } else { Err(error(spec, origin, expected, text)) }
}

/// The error for a value that doesn't fit; a secret is not repeated.
pub(super) fn error(spec: &ArgSpec, origin: &str, expected: &str, found: &str) -> OptionError {
    OptionError {
        option: origin.to_owned(),
        expected: format!("must be {expected}"),
        found: if spec.secret { "***".to_owned() } else { found.to_owned() },
    }
}
