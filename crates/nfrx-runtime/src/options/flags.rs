//! Flags: clap's arguments from the declarations, and Go's way of writing them.

use clap::{Arg, ArgAction, ArgMatches};
use nfrx_spi::{ArgSpec, ArgType};

/// The argument of an option; `None` when it has no flag. The value is checked later,
/// together with those from elsewhere.
pub(super) fn arg(spec: &ArgSpec) -> Option<Arg> {
    let (long, aliases) = names(spec).split_first().map(|(first, rest)| (*first, rest.to_vec()))?;
    let mut arg = Arg::new(long)
        .long(long)
        .help(help(spec))
        .action(ArgAction::Set)
        .overrides_with(long)
        .value_name(kind_name(spec.kind))
        .allow_hyphen_values(true);
    for alias in aliases {
        let mut chars = alias.chars();
        arg = match (chars.next(), chars.next()) {
            (Some(short), None) => arg.short(short),
            _ => arg.alias(alias),
        };
    }
    if spec.kind == ArgType::Bool {
        // `--reconnect` alone is true, `--reconnect=false` is the other way to say it.
        arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    Some(arg)
}

/// The flag's names without dashes, the first one first.
pub(super) fn names(spec: &ArgSpec) -> Vec<&'static str> {
    let aliases = spec.aliases.iter().copied().filter(|alias| alias.starts_with('-'));
    let all = Some(spec.flag).into_iter().filter(|flag| !flag.is_empty()).chain(aliases);
    all.map(|flag| flag.trim_start_matches('-')).collect()
}

/// The value given by flag.
pub(super) fn value(spec: &ArgSpec, flags: &ArgMatches) -> Option<String> {
    let name = *names(spec).first()?;
    flags.try_get_one::<String>(name).ok().flatten().cloned()
}

/// `-name` becomes `--name` for the known names, up to `--`.
pub(super) fn normalise(args: impl IntoIterator<Item = String>, known: &[&str]) -> Vec<String> {
    let mut open = true;
    let two_dashes = |arg: String| {
        open &= arg != "--";
        let name = arg.strip_prefix('-').map(|rest| rest.split('=').next().unwrap_or(rest));
        match name {
            Some(name) if open && name.len() > 1 && known.contains(&name) => format!("-{arg}"),
            _ => arg,
        }
    };
    args.into_iter().map(two_dashes).collect()
}

fn help(spec: &ArgSpec) -> String {
    let mut text = spec.description.to_owned();
    if !spec.env.is_empty() {
        text.push_str(&format!(" [env: {}]", spec.env));
    }
    if !spec.default.is_empty() && !spec.secret {
        text.push_str(&format!(" [default: {}]", spec.default));
    }
    text
}

fn kind_name(kind: ArgType) -> &'static str {
    match kind {
        ArgType::String => "TEXT",
        ArgType::Int => "NUMBER",
        ArgType::Number => "DECIMAL",
        ArgType::Bool => "BOOL",
        ArgType::Duration => "DURATION",
    }
}
