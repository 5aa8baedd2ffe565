//! `nfrx --help-plugins`: the plugins and their options, in the form of the configuration
//! contract §1.3.

use std::fmt::Write as _;
use std::io::Write as _;

use nfrx_spi::{ArgSpec, PluginDescriptor};

use crate::{cli, plugins};

/// The flag's name.
pub(super) const FLAG: &str = "help-plugins";

/// Prints the flags to stderr and the plugins to stdout.
pub(super) fn run() -> anyhow::Result<()> {
    eprintln!("{}", cli::server_usage());
    let mut descriptors: Vec<_> = plugins::all().iter().map(|factory| factory.descriptor()).collect();
    descriptors.sort_by_key(|descriptor| descriptor.id);
    Ok(std::io::stdout().write_all(text(&descriptors).as_bytes())?)
}

fn text(descriptors: &[PluginDescriptor]) -> String {
    let mut text = String::from("\nExtensions:\n");
    for PluginDescriptor { id, name, summary, args } in descriptors {
        // Writing into a text can't fail.
        let _ = writeln!(text, "  - {name} ({id})\n    {summary}");
        for spec in args {
            option(&mut text, spec);
        }
    }
    text
}

fn option(text: &mut String, spec: &ArgSpec) {
    let ArgSpec { id, description, flag, env, yaml, default, example, .. } = spec;
    let kind = serde_json::to_value(spec.kind).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default();
    let _ = writeln!(text, "    * {id}: {description}");
    let _ = writeln!(text, "      flag: {flag}\n      env: {env}\n      yaml: {yaml}");
    let example = if example.is_empty() { String::new() } else { format!("  example: {example}") };
    let _ = writeln!(text, "      type: {kind}  default: {default}{example}");
    if spec.deprecated {
        let replacement = if spec.replacement.is_empty() { "(none)" } else { spec.replacement };
        let _ = writeln!(text, "      deprecated; replacement: {replacement}");
    }
}

#[cfg(test)]
mod tests {
    use nfrx_spi::ArgType;

    use super::*;

    #[test]
    fn plugins_are_told_in_the_form_that_scripts_read() {
        let size = ArgSpec::new("queue_size", ArgType::Int, "how many wait")
            .from("--llm-queue-size", "LLM_QUEUE_SIZE", "plugin_options.llm.queue_size")
            .default("100")
            .example("0");
        let old = ArgSpec { deprecated: true, ..ArgSpec::new("old", ArgType::Bool, "gone soon") };
        let llm = PluginDescriptor { id: "llm", name: "LLM", summary: "models", args: vec![size, old] };
        let expected = "\nExtensions:\n  - LLM (llm)\n    models\n    * queue_size: how many wait\n      \
            flag: --llm-queue-size\n      env: LLM_QUEUE_SIZE\n      yaml: plugin_options.llm.queue_size\n      \
            type: int  default: 100  example: 0\n    * old: gone soon\n      flag: \n      env: \n      yaml: \n      \
            type: bool  default: \n      deprecated; replacement: (none)\n";
        assert_eq!(text(&[llm]), expected);
    }
}
