//! The options of an agent: those that all agents share, and two of its own.

use nfrx_agent::agent_specs;
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions};

use super::Style;

/// What an agent runs on besides the common options, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionConfig {
    /// The styles on offer; at least one.
    pub styles: Vec<Style>,
    /// How many pictures of one request it likes at once.
    pub batch_size: u32,
}

/// The options of an agent, the common ones first.
pub fn agent_options() -> Vec<ArgSpec> {
    let mut specs = agent_specs("ws://localhost:8080/api/captioner/connect");
    specs.extend([
        ArgSpec::new("styles", ArgType::String, "styles of captions on offer, comma separated")
            .from("--styles", "STYLES", "styles")
            .default("short,long")
            .example("long"),
        ArgSpec::new("batch_size", ArgType::Int, "pictures of one request taken at once, from 1 to 1000")
            .from("--batch-size", "BATCH_SIZE", "batch_size")
            .default("8"),
    ]);
    specs
}

impl CaptionConfig {
    /// Reads the options of [`agent_options`] that are not common to all agents.
    pub fn from_options(options: &PluginOptions) -> Result<Self, OptionError> {
        let names = options.text("styles").split(',').map(str::trim);
        let styles = names.map(Style::from_label).collect::<Option<Vec<_>>>();
        let batch_size = u32::try_from(options.int("batch_size")?).ok();
        Ok(Self {
            styles: styles.ok_or_else(|| options.refuse("styles", "some of `short` and `long`"))?,
            batch_size: batch_size
                .filter(|size| (1..=1000).contains(size))
                .ok_or_else(|| options.refuse("batch_size", "a number from 1 to 1000"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<CaptionConfig, OptionError> {
        let values = values.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned()));
        CaptionConfig::from_options(&PluginOptions::new(agent_options(), values.collect()))
    }

    #[test]
    fn without_any_value_every_style_is_offered() {
        assert_eq!(read(&[]), Ok(CaptionConfig { styles: Style::ALL.to_vec(), batch_size: 8 }));
    }

    #[test]
    fn a_style_that_does_not_exist_is_refused_by_name() {
        for (id, value) in [("styles", "short, funny"), ("styles", ""), ("batch_size", "0")] {
            let error = read(&[(id, value)]).expect_err("refused").to_string();
            assert!(error.contains(&format!("`{id}`")), "{error}");
        }
    }
}
