//! The plugin's own options: declared once, read once.

use std::time::Duration;

use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginDescriptor, PluginOptions};

/// What the plugin says of itself (configuration contract §3).
pub(super) fn descriptor() -> PluginDescriptor {
    let args = vec![
        ArgSpec::new("upload_bytes_max", ArgType::Int, "the most bytes of an upload")
            .from(
                "--docling-upload-bytes-max",
                "DOCLING_UPLOAD_BYTES_MAX",
                "plugin_options.docling.upload_bytes_max",
            )
            .default("536870912")
            .example("104857600"),
        ArgSpec::new(
            "silence_max",
            ArgType::Duration,
            "the longest silence about a request, even while its worker shows that it lives; 0: no limit",
        )
        .from("--docling-silence-max", "DOCLING_SILENCE_MAX", "plugin_options.docling.silence_max")
        .default("0")
        .example("30m"),
    ];
    PluginDescriptor { id: super::ID, name: "Docling", summary: "Document conversion (worker-style)", args }
}

/// The options as the program uses them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DoclingOptions {
    /// The most bytes of an upload.
    pub(super) upload_bytes_max: u64,
    /// The longest silence about a request; zero for no limit (KD-9).
    pub(super) silence_max: Duration,
}

impl DoclingOptions {
    /// Reads the options; text has the right types by now.
    pub(super) fn read(options: &PluginOptions) -> Result<Self, OptionError> {
        let bytes = u64::try_from(options.int("upload_bytes_max")?).ok().filter(|bytes| *bytes > 0);
        let refused = || options.refuse("upload_bytes_max", "a number of bytes, 1 or more");
        Ok(Self {
            upload_bytes_max: bytes.ok_or_else(refused)?,
            silence_max: options.duration("silence_max")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<DoclingOptions, OptionError> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        DoclingOptions::read(&PluginOptions::new(descriptor().args, values.collect()))
    }

    #[test]
    fn an_upload_may_have_512_mib_unless_somebody_says_otherwise() {
        assert_eq!(read(&[]).expect("defaults are valid").upload_bytes_max, 512 << 20);
        assert_eq!(read(&[("upload_bytes_max", "9")]).expect("valid").upload_bytes_max, 9);
        let error = read(&[("upload_bytes_max", "0")]).expect_err("refused").to_string();
        assert!(error.contains("plugin_options.docling.upload_bytes_max"), "{error}");
    }
}
