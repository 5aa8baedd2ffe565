//! Options: declared once, as [`ArgSpec`]s; flags, environment, YAML, help and the
//! state API's descriptors all come from the declaration (design, choice 7).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A text that must not be shown: `Debug` prints `***`, and it is not `Serialize`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends or hashes it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgType {
    /// Any text.
    String,
    /// A whole number, negative ones too.
    Int,
    /// `true` or `false`, also `1`, `0`, `t`, `f` (configuration contract §1.1).
    Bool,
    /// A decimal number.
    Number,
    /// A span of time such as `300ms`, `1m30s`; a bare number counts seconds.
    Duration,
}

/// One option: where it may be set, what it takes, what it means.
///
/// Field names serialise capitalised, as the state API's descriptors have them
/// (HTTP contract §3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArgSpec {
    /// The key in the plugin's map of options, lower case with underscores.
    #[serde(rename = "ID")]
    pub id: &'static str,
    /// The command line flag, such as `--llm-queue-size`; empty for none.
    pub flag: &'static str,
    /// The environment variable; empty for none.
    pub env: &'static str,
    /// The path in the YAML file, such as `plugin_options.llm.queue_size`.
    #[serde(rename = "YAML")]
    pub yaml: &'static str,
    /// What the value must be.
    #[serde(rename = "Type")]
    pub kind: ArgType,
    /// The value when nobody sets it; empty for none.
    pub default: &'static str,
    /// A value worth showing; empty for none.
    pub example: &'static str,
    /// One line for help and reference.
    pub description: &'static str,
    /// Still read, but on its way out.
    pub deprecated: bool,
    /// What to use instead of a deprecated option.
    pub replacement: &'static str,
    /// Masked wherever it is shown.
    pub secret: bool,
    /// Other spellings that are still read. Their form tells what they are: `--flag`,
    /// `VARIABLE`, anything else a YAML path. Not part of the descriptor.
    #[serde(skip)]
    pub aliases: &'static [&'static str],
}

impl ArgSpec {
    /// A spec with the three things every option has; set the rest with struct
    /// update syntax or the methods below.
    pub const fn new(id: &'static str, kind: ArgType, description: &'static str) -> Self {
        Self {
            id,
            flag: "",
            env: "",
            yaml: "",
            kind,
            default: "",
            example: "",
            description,
            deprecated: false,
            replacement: "",
            secret: false,
            aliases: &[],
        }
    }

    /// Sets where the option may be given: flag, environment variable, YAML path.
    pub const fn from(mut self, flag: &'static str, env: &'static str, yaml: &'static str) -> Self {
        self.flag = flag;
        self.env = env;
        self.yaml = yaml;
        self
    }

    /// Sets the default.
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// Sets the example.
    pub const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// Sets other spellings that are still read.
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Marks the value as one that is never shown.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// What a plugin says of itself: shown in help, in the state API and at its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PluginDescriptor {
    /// Names the plugin in URLs, metrics and settings: lower case, never reused.
    #[serde(rename = "ID")]
    pub id: &'static str,
    /// For people.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Its options, in the order in which they are shown; `null` when there are none.
    #[serde(serialize_with = "null_when_empty")]
    pub args: Vec<ArgSpec>,
}

fn null_when_empty<S: Serializer>(args: &Vec<ArgSpec>, serializer: S) -> Result<S::Ok, S::Error> {
    if args.is_empty() { serializer.serialize_none() } else { serializer.collect_seq(args) }
}

/// A value that is missing or is not what its [`ArgSpec`] takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}`: {expected}, but it is `{found}`")]
pub struct OptionError {
    /// The option, as its owner would look for it: YAML path, flag or variable.
    pub option: String,
    /// What would be accepted.
    pub expected: String,
    /// What was found; masked for secrets.
    pub found: String,
}

/// The options of one plugin, checked against their specs before the plugin is
/// built: a value of the wrong type has stopped the start by then.
#[derive(Clone, Default)]
pub struct PluginOptions {
    specs: Vec<ArgSpec>,
    values: BTreeMap<String, String>,
}

impl fmt::Debug for PluginOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.specs.iter().map(|spec| {
            let text = self.text(spec.id);
            (spec.id, if spec.secret && !text.is_empty() { "***" } else { text })
        });
        f.debug_map().entries(shown).finish()
    }
}

impl PluginOptions {
    /// Takes given values; options without one have their default.
    pub fn new(specs: Vec<ArgSpec>, values: BTreeMap<String, String>) -> Self {
        Self { specs, values }
    }

    /// The specs, in the order in which they are shown.
    pub fn specs(&self) -> &[ArgSpec] {
        &self.specs
    }

    /// The value as text; empty when there is neither a value nor a default, and when
    /// there is no such option.
    pub fn text(&self, id: &str) -> &str {
        match self.values.get(id) {
            Some(value) => value,
            None => self.specs.iter().find(|spec| spec.id == id).map_or("", |spec| spec.default),
        }
    }

    /// The value as a whole number.
    pub fn int(&self, id: &str) -> Result<i64, OptionError> {
        self.parsed(id, "a whole number", |text| text.trim().parse().ok())
    }

    /// The value as a decimal number.
    pub fn number(&self, id: &str) -> Result<f64, OptionError> {
        self.parsed(id, "a number", |text| text.trim().parse().ok().filter(|n: &f64| n.is_finite()))
    }

    /// The value as `true` or `false`.
    pub fn flag(&self, id: &str) -> Result<bool, OptionError> {
        self.parsed(id, "`true` or `false`", parse_bool)
    }

    /// The value as a span of time.
    pub fn duration(&self, id: &str) -> Result<Duration, OptionError> {
        self.parsed(id, "a duration such as `30s`", parse_duration)
    }

    fn parsed<T>(&self, id: &str, expected: &str, parse: fn(&str) -> Option<T>) -> Result<T, OptionError> {
        parse(self.text(id)).ok_or_else(|| self.refuse(id, expected))
    }

    /// The error for a value of the right type that makes no sense: it names the option,
    /// says that it must be `expected`, and masks a secret. For
    /// [`PluginFactory::build`](crate::PluginFactory::build).
    pub fn refuse(&self, id: &str, expected: &str) -> OptionError {
        let found = self.text(id);
        let spec = self.specs.iter().find(|spec| spec.id == id);
        let secret = spec.is_some_and(|spec| spec.secret);
        OptionError {
            option: spec.map_or(id, |spec| if spec.yaml.is_empty() { id } else { spec.yaml }).to_owned(),
            expected: format!("must be {expected}"),
            found: if secret { "***".to_owned() } else { found.to_owned() },
        }
    }
}

/// What the server tells all plugins of its own settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How long a worker may be silent about a request; zero for no limit.
    pub request_timeout: Duration,
    /// What agents must present, when one nameless key is set.
    pub client_key: Option<Secret>,
    /// Roles in `X-User-Roles` that let an agent in.
    pub client_http_roles: Vec<String>,
    /// How often agents show that they live; zero for the server's default.
    pub agent_heartbeat_interval: Duration,
    /// After how much silence a worker is taken for lost; zero for the server's
    /// default.
    pub agent_heartbeat_expiry: Duration,
    /// Where people reach this server, without a slash at its end; `None` when nobody
    /// said. What a request says of it proves nothing.
    pub public_url: Option<String>,
    /// The folder for what must outlive the process; `None` when there is none.
    pub state_dir: Option<PathBuf>,
    /// Each plugin's own options by plugin id.
    pub plugin_options: BTreeMap<&'static str, PluginOptions>,
}

/// Reads `1 t T TRUE true True` and their opposites (configuration contract §1.1).
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a span of time: number and unit pairs (`1m30s`, `300ms`, `1.5h`), or a bare
/// number of seconds. Not negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let count: f64 = rest[..unit_at].parse().ok()?;
        let unit_len =
            rest[unit_at..].find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len() - unit_at);
        let seconds = match &rest[unit_at..unit_at + unit_len] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(count * seconds).ok()?)?;
        rest = &rest[unit_at + unit_len..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let millis = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("300ms"), Some(300));
        assert_eq!(millis("1.5h"), Some(5_400_000));
        assert_eq!(millis("120"), Some(120_000));
        assert_eq!(millis("0"), Some(0));
        for bad in ["", "x", "5 m", "5parsecs", "-1s", "m", "1e999"] {
            assert_eq!(millis(bad), None, "`{bad}` is no duration");
        }
    }

    #[test]
    fn an_error_names_the_option_and_hides_a_secret() {
        let specs = vec![
            ArgSpec::new("queue_size", ArgType::Int, "")
                .from("--q", "Q", "plugin_options.llm.queue_size")
                .default("100"),
            ArgSpec::new("pin", ArgType::Int, "").secret(),
        ];
        let values = [("queue_size", "lots"), ("pin", "hunter2")];
        let options = PluginOptions::new(specs, values.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!(
            options.int("queue_size").expect_err("not a number").to_string(),
            "option `plugin_options.llm.queue_size`: must be a whole number, but it is `lots`"
        );
        assert!(!options.int("pin").expect_err("not a number").to_string().contains("hunter2"));
        assert_eq!(
            options.refuse("pin", "four digits").to_string(),
            "option `pin`: must be four digits, but it is `***`"
        );
        // Seen to fail: with the derived Debug.
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn a_descriptor_keeps_the_names_of_the_contract() {
        let descriptor = PluginDescriptor { id: "asr", name: "ASR", summary: "s", args: vec![] };
        let json = serde_json::to_string(&descriptor).expect("plain data");
        assert_eq!(json, r#"{"ID":"asr","Name":"ASR","Summary":"s","Args":null}"#);
    }
}
