//! What was built, as the build said it.

use nfrx_spi::BuildInfo;

/// Version, commit and date from `NFRX_VERSION`, `NFRX_SHA` and `NFRX_DATE` at compile
/// time; `dev` and `unknown` without them (configuration contract §1.2).
pub const fn build_info() -> BuildInfo {
    const fn or(value: Option<&'static str>, fallback: &'static str) -> &'static str {
        match value {
            Some(value) => value,
            None => fallback,
        }
    }
    BuildInfo {
        version: or(option_env!("NFRX_VERSION"), "dev"),
        sha: or(option_env!("NFRX_SHA"), "unknown"),
        date: or(option_env!("NFRX_DATE"), "unknown"),
    }
}
