//! Logs: text for people on a terminal, one JSON object a line elsewhere, always to
//! stderr (KD-61).

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, fmt};

/// Reads a level as the configuration contract §6 has it; anything unknown is `info`.
///
/// `fatal` is `off`: the message with which a process ends is printed by `main`
/// whatever the level.
pub fn level(text: &str) -> LevelFilter {
    match text.trim().to_ascii_lowercase().as_str() {
        "all" | "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warn" | "warning" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        "fatal" | "none" | "off" | "disabled" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    }
}

/// Starts to log. To be called once in a process; a second call changes nothing.
pub fn init(level_text: &str) -> Result<(), TryInitError> {
    let terminal = io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if terminal {
        lines.with_ansi(colour).with_target(false).boxed()
    } else {
        // The span is the request that a line belongs to.
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(targets(level(level_text)))).try_init()
}

/// Our own crates at the wanted level. Libraries stay at `warn`: below it they print
/// headers, and keys with them (KD-33).
fn targets(level: LevelFilter) -> Targets {
    // What operators did is told at any level at which anything is.
    let audit = if level == LevelFilter::OFF { level } else { level.max(LevelFilter::INFO) };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("nfrx", level)
        .with_target("audit", audit)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_read_in_all_their_spellings() {
        let spellings = [" ALL ", "trace", "Warning", "fatal", "disabled", "", "loud"];
        let expected = ["trace", "trace", "warn", "off", "off", "info", "info"];
        assert_eq!(spellings.map(|text| level(text).to_string()), expected);
    }

    #[test]
    fn libraries_never_print_what_they_carry() {
        let targets = targets(LevelFilter::TRACE);
        assert!(targets.would_enable("nfrx_server::front", &Level::TRACE));
        // Seen to fail: with the wanted level as the default.
        assert!(!targets.would_enable("h2::codec", &Level::DEBUG));
        assert!(targets.would_enable("hyper", &Level::WARN));
    }
}
