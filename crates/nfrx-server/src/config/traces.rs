//! Where traces go and which requests are traced, by OpenTelemetry's own variables.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Uri};
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions, TraceId};

/// Where spans go.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// The collector's address for traces.
    pub endpoint: Uri,
    /// A file of certificates to trust besides those of this machine.
    pub certificates: Option<PathBuf>,
    /// Headers of each export, such as a key. Marked as sensitive, so they don't print.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What this server calls itself.
    pub service: String,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// Whether prompts are told.
    pub takes_content: bool,
}

/// Which requests are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Whether who asks decides, if it says.
    pub by_parent: bool,
    /// The share of the others, from 0 to 1.
    pub share: f64,
}

impl Sampling {
    /// Whether a request is traced; `parent` is what who asks says of itself. The same
    /// trace is judged alike everywhere.
    pub(crate) fn takes(self, trace: TraceId, parent: Option<bool>) -> bool {
        if let Some(sampled) = parent.filter(|_| self.by_parent) {
            return sampled;
        }
        let [.., a, b, c, d, e, f, g] = trace.0;
        // Fifty-three bits, which a float holds exactly.
        let low = u64::from_be_bytes([0, a, b, c, d, e, f, g]) >> 3;
        (low as f64) < self.share * (1_u64 << 53) as f64
    }
}

pub(super) fn specs() -> Vec<ArgSpec> {
    let text = |id, env, description| ArgSpec::new(id, ArgType::String, description).from("", env, id);
    vec![
        text(
            "otel_exporter_otlp_endpoint",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "a collector for traces, by OTLP over HTTP; without one there are no traces",
        )
        .example("http://127.0.0.1:4318"),
        text(
            "otel_exporter_otlp_traces_endpoint",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "the same, with its whole path",
        )
        .example("http://127.0.0.1:4318/v1/traces"),
        text(
            "otel_exporter_otlp_headers",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "headers for the collector: name=value, comma separated",
        )
        .secret(),
        text(
            "otel_exporter_otlp_certificate",
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "for an https collector: a PEM file of certificates to trust besides those of this machine",
        ),
        text("otel_service_name", "OTEL_SERVICE_NAME", "what this server calls itself in traces")
            .default("nfrx"),
        text(
            "otel_traces_sampler",
            "OTEL_TRACES_SAMPLER",
            "which requests are traced: always_on, always_off, traceidratio, or one of these behind parentbased_",
        )
        .default("parentbased_always_on"),
        text("otel_traces_sampler_arg", "OTEL_TRACES_SAMPLER_ARG", "the share for traceidratio, from 0 to 1")
            .default("1"),
        ArgSpec::new(
            "otel_instrumentation_genai_capture_message_content",
            ArgType::Bool,
            "prompts are part of traces; whoever reads those reads them too",
        )
        .from(
            "",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
            "otel_instrumentation_genai_capture_message_content",
        )
        .default("false"),
        ArgSpec::new("otel_sdk_disabled", ArgType::Bool, "no traces, whatever else is set")
            .from("", "OTEL_SDK_DISABLED", "otel_sdk_disabled")
            .default("false"),
    ]
}

/// Where traces go, if they go anywhere.
pub(super) fn read(options: &PluginOptions) -> Result<Option<TracesConfig>, OptionError> {
    let Some(endpoint) = endpoint(options)? else { return Ok(None) };
    if options.flag("otel_sdk_disabled")? {
        return Ok(None);
    }
    Ok(Some(TracesConfig {
        endpoint,
        certificates: Some(options.text("otel_exporter_otlp_certificate").trim())
            .filter(|file| !file.is_empty())
            .map(PathBuf::from),
        headers: headers(options)?,
        service: options.text("otel_service_name").to_owned(),
        sampling: sampling(options)?,
        takes_content: options.flag("otel_instrumentation_genai_capture_message_content")?,
    }))
}

fn endpoint(options: &PluginOptions) -> Result<Option<Uri>, OptionError> {
    let whole = options.text("otel_exporter_otlp_traces_endpoint").trim();
    let base = options.text("otel_exporter_otlp_endpoint").trim();
    let (id, text) = match (whole, base) {
        ("", "") => return Ok(None),
        ("", base) => ("otel_exporter_otlp_endpoint", format!("{}/v1/traces", base.trim_end_matches('/'))),
        (whole, _) => ("otel_exporter_otlp_traces_endpoint", whole.to_owned()),
    };
    let uri = text.parse::<Uri>().ok();
    let fits = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    uri.filter(fits).map(Some).ok_or_else(|| options.refuse(id, "an http or https URL"))
}

fn headers(options: &PluginOptions) -> Result<Vec<(HeaderName, HeaderValue)>, OptionError> {
    let id = "otel_exporter_otlp_headers";
    let pairs = options.text(id).split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((name.trim().parse().ok()?, value))
    };
    pairs.map(|pair| read(pair).ok_or_else(|| options.refuse(id, "name=value, comma separated"))).collect()
}

fn sampling(options: &PluginOptions) -> Result<Sampling, OptionError> {
    let id = "otel_traces_sampler";
    let name = options.text(id).trim();
    let (by_parent, rest) = match name.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    let share = match rest {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            let share = options.number("otel_traces_sampler_arg")?;
            if !(0.0..=1.0).contains(&share) {
                return Err(options.refuse("otel_traces_sampler_arg", "a share from 0 to 1"));
            }
            share
        }
        _ => {
            let known = "always_on, always_off or traceidratio, or one of these behind parentbased_";
            return Err(options.refuse(id, known));
        }
    };
    Ok(Sampling { by_parent, share })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(values: &[(&str, &str)]) -> PluginOptions {
        let values = values.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned()));
        PluginOptions::new(specs(), values.collect())
    }

    #[test]
    fn without_a_collector_there_are_no_traces() {
        assert!(read(&options(&[])).unwrap().is_none());
        let base = ("otel_exporter_otlp_endpoint", "http://[::1]:4318/");
        assert!(read(&options(&[base, ("otel_sdk_disabled", "true")])).unwrap().is_none());
        let config = read(&options(&[base])).unwrap().expect("traces");
        assert_eq!(config.endpoint.to_string(), "http://[::1]:4318/v1/traces");
        let whole = ("otel_exporter_otlp_traces_endpoint", "http://c/x");
        assert_eq!(
            read(&options(&[base, whole])).unwrap().expect("traces").endpoint.to_string(),
            "http://c/x"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let base = ("otel_exporter_otlp_endpoint", "http://c");
        let said = |of: &[(&str, &str)]| read(&options(of)).unwrap_err().to_string();
        assert!(said(&[("otel_exporter_otlp_endpoint", "grpc://c")]).contains("http or https"));
        assert!(said(&[base, ("otel_traces_sampler", "sometimes")]).contains("always_on"));
        let ratio = ("otel_traces_sampler", "traceidratio");
        assert!(said(&[base, ratio, ("otel_traces_sampler_arg", "2")]).contains("0 to 1"));
        let secret = said(&[base, ("otel_exporter_otlp_headers", "hunter2")]);
        assert!(secret.contains("name=value") && !secret.contains("hunter2"), "{secret}");
    }

    #[test]
    fn who_asks_decides_where_it_says_and_the_share_elsewhere() {
        let half = Sampling { by_parent: true, share: 0.5 };
        let (low, high) = (TraceId([0x10; 16]), TraceId([0xf0; 16]));
        // Seen to fail: with the parent's word taken for nothing.
        assert!(half.takes(high, Some(true)) && !half.takes(low, Some(false)));
        assert!(half.takes(low, None) && !half.takes(high, None));
        let alone = Sampling { by_parent: false, share: 0.0 };
        assert!(!alone.takes(low, Some(true)) && !alone.takes(TraceId([0; 16]), None));
        assert!(Sampling { by_parent: false, share: 1.0 }.takes(TraceId([0xff; 16]), None));
    }
}
