//! The plugin's own options: declared once, read once.

use std::time::Duration;

use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginDescriptor, PluginOptions};

/// What the plugin says of itself (configuration contract §3).
pub(super) fn descriptor() -> PluginDescriptor {
    PluginDescriptor {
        id: super::ID,
        name: "LLM Gateway",
        summary: "OpenAI-compatible API over an agent pool",
        args: vec![
            ArgSpec::new(
                "max_parallel_embeddings",
                ArgType::Int,
                "how many parts of one embeddings request may be with workers at once; 1 or less: one",
            )
            .from(
                "--llm-max-parallel-embeddings",
                "LLM_MAX_PARALLEL_EMBEDDINGS",
                "plugin_options.llm.max_parallel_embeddings",
            )
            .default("8")
            .example("16"),
            ArgSpec::new(
                "queue_size",
                ArgType::Int,
                "how many requests may wait for a worker; 0 or less: none",
            )
            .from("--llm-queue-size", "LLM_QUEUE_SIZE", "plugin_options.llm.queue_size")
            .default("100")
            .example("0"),
            ArgSpec::new(
                "queue_update_seconds",
                ArgType::Int,
                "seconds between two queue events of a waiting stream; 0 or less: only the first",
            )
            .from(
                "--llm-queue-update-seconds",
                "LLM_QUEUE_UPDATE_SECONDS",
                "plugin_options.llm.queue_update_seconds",
            )
            .default("10")
            .example("5"),
            ArgSpec::new("queue_max_wait", ArgType::Duration, "the longest wait in the queue; 0: no limit")
                .from("--llm-queue-max-wait", "LLM_QUEUE_MAX_WAIT", "plugin_options.llm.queue_max_wait")
                .default("5m")
                .example("30s"),
            ArgSpec::new(
                "min_score",
                ArgType::Number,
                "the least score of a worker to be picked; 1 turns aliases off",
            )
            .from("--llm-min-score", "LLM_MIN_SCORE", "plugin_options.llm.min_score")
            .default("0.01")
            .example("1"),
            ArgSpec::new(
                "silence_max",
                ArgType::Duration,
                "the longest silence about a request, even while its worker shows that it lives; 0: no limit",
            )
            .from("--llm-silence-max", "LLM_SILENCE_MAX", "plugin_options.llm.silence_max")
            .default("0")
            .example("10m"),
        ],
    }
}

/// The options as the program uses them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LlmOptions {
    /// How many parts of one embeddings request may be with workers at once; at least 1.
    pub(super) embeddings_parallel_max: usize,
    /// How many requests may wait; 0 for none.
    pub(super) queue_max: usize,
    /// Time between two queue events; `None` for only the first.
    pub(super) queue_update: Option<Duration>,
    /// The longest wait in the queue; zero for no limit.
    pub(super) queue_wait_max: Duration,
    /// Scores under this are no match.
    pub(super) min_score: f64,
    /// The longest silence about a request; zero for no limit (KD-9).
    pub(super) silence_max: Duration,
}

impl LlmOptions {
    /// Reads the options; text has the right types by now.
    pub(super) fn read(options: &PluginOptions) -> Result<Self, OptionError> {
        let queue_update = options.int("queue_update_seconds")?;
        Ok(Self {
            embeddings_parallel_max: usize::try_from(options.int("max_parallel_embeddings")?)
                .unwrap_or(1)
                .max(1),
            queue_max: usize::try_from(options.int("queue_size")?).unwrap_or(0),
            queue_update: u64::try_from(queue_update)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            queue_wait_max: options.duration("queue_max_wait")?,
            min_score: options.number("min_score")?,
            silence_max: options.duration("silence_max")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_switch_the_queue_and_its_events_off() {
        let values = [
            ("queue_size", "-1"),
            ("queue_update_seconds", "-5"),
            ("queue_max_wait", "0"),
            ("max_parallel_embeddings", "-2"),
        ];
        let values = values.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let read = LlmOptions::read(&PluginOptions::new(descriptor().args, values)).expect("right types");
        assert_eq!((read.queue_max, read.queue_update, read.queue_wait_max), (0, None, Duration::ZERO));
        assert_eq!(read.embeddings_parallel_max, 1);
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let read = LlmOptions::read(&PluginOptions::new(descriptor().args, [].into())).expect("right types");
        assert_eq!(read.embeddings_parallel_max, 8);
        assert_eq!((read.queue_max, read.queue_update), (100, Some(Duration::from_secs(10))));
        assert_eq!((read.min_score, read.queue_wait_max), (0.01, Duration::from_secs(300)));
    }
}
