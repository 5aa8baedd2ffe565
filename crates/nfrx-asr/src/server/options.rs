//! The plugin's own options: declared once, read once.

use std::path::PathBuf;
use std::time::Duration;

use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginDescriptor, PluginOptions};

/// What the plugin says of itself (configuration contract §3).
pub(super) fn descriptor() -> PluginDescriptor {
    use ArgType::{Duration, Int, Number, String};
    let args = vec![
        ArgSpec::new("min_score", Number, "the least score of a worker to be picked; 1 turns aliases off")
            .from("--asr-min-score", "ASR_MIN_SCORE", "plugin_options.asr.min_score")
            .default("0.01")
            .example("1"),
        ArgSpec::new("upload_bytes_max", Int, "the most bytes of an upload")
            .from("--asr-upload-bytes-max", "ASR_UPLOAD_BYTES_MAX", "plugin_options.asr.upload_bytes_max")
            .default("536870912")
            .example("104857600"),
        ArgSpec::new(
            "spool_bytes_max",
            Int,
            "the most bytes on disk of all uploads that name their model after their file",
        )
        .from("--asr-spool-bytes-max", "ASR_SPOOL_BYTES_MAX", "plugin_options.asr.spool_bytes_max")
        .default("2147483648")
        .example("0"),
        ArgSpec::new(
            "spool_dir",
            String,
            "the folder for those uploads; the system's for temporary files when empty",
        )
        .from("--asr-spool-dir", "ASR_SPOOL_DIR", "plugin_options.asr.spool_dir")
        .example("/var/tmp"),
        ArgSpec::new(
            "silence_max",
            Duration,
            "the longest silence about a request, even while its worker shows that it lives; 0: no limit",
        )
        .from("--asr-silence-max", "ASR_SILENCE_MAX", "plugin_options.asr.silence_max")
        .default("0")
        .example("10m"),
    ];
    PluginDescriptor { id: super::ID, name: "ASR", summary: "Audio transcription (worker-style)", args }
}

/// The options as the program uses them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AsrOptions {
    /// Scores under this are no match.
    pub(super) min_score: f64,
    /// The most bytes of an upload.
    pub(super) upload_bytes_max: u64,
    /// The most bytes in all spool files; 0 for none.
    pub(super) spool_bytes_max: u64,
    /// Where spool files lie.
    pub(super) spool_dir: PathBuf,
    /// The longest silence about a request; zero for no limit (KD-9).
    pub(super) silence_max: Duration,
}

impl AsrOptions {
    /// Reads the options; text has the right types by now.
    pub(super) fn read(options: &PluginOptions) -> Result<Self, OptionError> {
        let bytes = |id: &str, least: u64| {
            let bytes = u64::try_from(options.int(id)?).ok().filter(|bytes| *bytes >= least);
            bytes.ok_or_else(|| options.refuse(id, &format!("a number of bytes, {least} or more")))
        };
        let dir = options.text("spool_dir").trim();
        Ok(Self {
            min_score: options.number("min_score")?,
            upload_bytes_max: bytes("upload_bytes_max", 1)?,
            spool_bytes_max: bytes("spool_bytes_max", 0)?,
            spool_dir: if dir.is_empty() { std::env::temp_dir() } else { dir.into() },
            silence_max: options.duration("silence_max")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<AsrOptions, OptionError> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        AsrOptions::read(&PluginOptions::new(descriptor().args, values.collect()))
    }

    #[test]
    fn defaults_hold_512_mib_an_upload() {
        let options = read(&[]).expect("defaults are valid");
        assert_eq!((options.upload_bytes_max, options.min_score), (512 << 20, 0.01));
        assert_eq!((options.spool_bytes_max, options.silence_max), (2 << 30, Duration::ZERO));
        assert_eq!(options.spool_dir, std::env::temp_dir());
    }

    #[test]
    fn a_size_that_makes_no_sense_stops_the_start() {
        for (id, value) in [("upload_bytes_max", "0"), ("spool_bytes_max", "-1")] {
            let error = read(&[(id, value)]).expect_err("refused").to_string();
            assert!(error.contains(id) && error.contains(value), "{error}");
        }
        assert_eq!(read(&[("spool_bytes_max", "0")]).expect("valid").spool_bytes_max, 0);
    }
}
