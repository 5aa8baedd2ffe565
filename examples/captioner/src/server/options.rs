//! The plugin's own options: declared once, read once.

use std::ops::RangeInclusive;
use std::time::Duration;

use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginDescriptor, PluginOptions, Secret};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What the plugin says of itself.
pub(super) fn descriptor() -> PluginDescriptor {
    PluginDescriptor {
        id: super::ID,
        name: "Captioner",
        summary: "Captions of pictures, over a pool of agents that measure them",
        args: vec![
            ArgSpec::new("default_style", ArgType::String, "the style of captions when a request names none")
                .from("--default-style", "CAPTIONER_DEFAULT_STYLE", "plugin_options.captioner.default_style")
                .default("short")
                .example("long"),
            ArgSpec::new("picture_bytes_max", ArgType::Int, "the most bytes of a picture sent by itself")
                .from(
                    "--picture-bytes-max",
                    "CAPTIONER_PICTURE_BYTES_MAX",
                    "plugin_options.captioner.picture_bytes_max",
                )
                .default("50331648"),
            ArgSpec::new("pictures_max", ArgType::Int, "the most pictures in one request, from 1 to 10000")
                .from("--pictures-max", "CAPTIONER_PICTURES_MAX", "plugin_options.captioner.pictures_max")
                .default("256"),
            ArgSpec::new("parallel_max", ArgType::Int, "parts of one request with workers at once, 1 to 64")
                .from("--parallel-max", "CAPTIONER_PARALLEL_MAX", "plugin_options.captioner.parallel_max")
                .default("8"),
            ArgSpec::new(
                "queue_size",
                ArgType::Int,
                "requests for several pictures that may wait, 0 to 10000",
            )
            .from("--queue-size", "CAPTIONER_QUEUE_SIZE", "plugin_options.captioner.queue_size")
            .default("100"),
            ArgSpec::new("queue_max_wait", ArgType::Duration, "the longest wait in the queue; 0: no limit")
                .from(
                    "--queue-max-wait",
                    "CAPTIONER_QUEUE_MAX_WAIT",
                    "plugin_options.captioner.queue_max_wait",
                )
                .default("1m"),
            ArgSpec::new("caption_timeout", ArgType::Duration, "the longest a worker may take; 0: no limit")
                .from(
                    "--caption-timeout",
                    "CAPTIONER_CAPTION_TIMEOUT",
                    "plugin_options.captioner.caption_timeout",
                )
                .default("30s"),
            ArgSpec::new("batch_key", ArgType::String, "wanted in X-Batch-Key for several pictures at once")
                .from("--batch-key", "CAPTIONER_BATCH_KEY", "plugin_options.captioner.batch_key")
                .secret(),
        ],
    }
}

/// The options as the program uses them.
#[derive(Debug)]
pub(super) struct CaptionerOptions {
    /// The style of captions when a request names none.
    pub(super) default_style: String,
    /// The most bytes of a picture sent by itself.
    pub(super) picture_bytes_max: u64,
    /// The most pictures in one request.
    pub(super) pictures_max: usize,
    /// Parts of one request with workers at once.
    pub(super) parallel_max: usize,
    /// Requests for several pictures that may wait.
    pub(super) queue_max: usize,
    /// The longest wait in the queue; zero for no limit.
    pub(super) queue_wait_max: Duration,
    /// The longest a worker may take; zero for no limit.
    pub(super) caption_time_max: Duration,
    batch_key: Option<Secret>,
}

impl CaptionerOptions {
    /// Reads the options; each text has the type of its spec by now.
    pub(super) fn read(options: &PluginOptions) -> Result<Self, OptionError> {
        let default_style = options.text("default_style").trim();
        if default_style.is_empty() {
            return Err(options.refuse("default_style", "the name of a style"));
        }
        let batch_key = options.text("batch_key").trim();
        Ok(Self {
            default_style: default_style.to_owned(),
            picture_bytes_max: count(options, "picture_bytes_max", 1..=1 << 30)? as u64,
            pictures_max: count(options, "pictures_max", 1..=10_000)?,
            parallel_max: count(options, "parallel_max", 1..=64)?,
            queue_max: count(options, "queue_size", 0..=10_000)?,
            queue_wait_max: options.duration("queue_max_wait")?,
            caption_time_max: options.duration("caption_timeout")?,
            batch_key: (!batch_key.is_empty()).then(|| Secret::new(batch_key)),
        })
    }

    /// Whether whoever shows this key may send several pictures at once. Takes as long for
    /// a key that is nearly right as for one that is all wrong (KD-19).
    pub(super) fn allows_batch(&self, shown: &[u8]) -> bool {
        let digest = |key: &[u8]| Sha256::digest(key);
        self.batch_key.as_ref().is_none_or(|key| {
            let key = digest(key.reveal().as_bytes());
            key.as_slice().ct_eq(digest(shown).as_slice()).into()
        })
    }
}

fn count(options: &PluginOptions, id: &str, range: RangeInclusive<usize>) -> Result<usize, OptionError> {
    let count = usize::try_from(options.int(id)?).ok().filter(|count| range.contains(count));
    count.ok_or_else(|| options.refuse(id, &format!("a number from {} to {}", range.start(), range.end())))
}
