//! The YAML file: read whole, each key known, each value a text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use nfrx_spi::{ArgSpec, ArgType, OptionError};
use serde_json::Value;

use super::{LoadError, check};

/// More is no settings file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a file sets, by the keys' paths.
#[derive(Default)]
pub(super) struct SettingsFile {
    path: PathBuf,
    values: BTreeMap<&'static str, Value>,
}

/// The YAML paths of an option, the documented one first (configuration contract §2.2).
pub(super) fn paths(spec: &ArgSpec) -> impl Iterator<Item = &'static str> + use<> {
    let is_path = |name: &&str| name.starts_with(|c: char| c.is_ascii_lowercase());
    Some(spec.yaml).into_iter().chain(spec.aliases.iter().copied()).filter(is_path)
}

impl SettingsFile {
    /// Reads `path`; `None` when there is no such file.
    pub(super) fn read(
        path: &Path,
        known: &[&'static str],
        dead: &[&'static str],
        warnings: &mut Vec<String>,
    ) -> Result<Option<Self>, LoadError> {
        let Some(text) = read_bounded(path)? else { return Ok(None) };
        let malformed = |problem: String| LoadError::Malformed { path: path.to_owned(), problem };
        let root: Value = serde_saphyr::from_str(&text).map_err(|error| {
            // The error's own text quotes the file, and with it what may be a key.
            malformed(match error.location() {
                Some(at) => format!("not YAML at line {}, column {}", at.line(), at.column()),
                None => "not YAML".to_owned(),
            })
        })?;
        let mut file = Self { path: path.to_owned(), values: BTreeMap::new() };
        match root {
            Value::Null => {}
            Value::Object(map) => file.take("", map, known, dead, warnings)?,
            _ => return Err(malformed("it must be a map of keys and values".to_owned())),
        }
        Ok(Some(file))
    }

    fn take(
        &mut self,
        prefix: &str,
        map: serde_json::Map<String, Value>,
        known: &[&'static str],
        dead: &[&'static str],
        warnings: &mut Vec<String>,
    ) -> Result<(), LoadError> {
        for (key, value) in map {
            let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            let below = |name: &&str| name.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.'));
            if let Some(name) = known.iter().copied().find(|name| *name == path) {
                if !value.is_null() {
                    self.values.insert(name, value);
                }
            } else if dead.contains(&path.as_str()) {
                warnings.push(format!("{} has no effect", self.origin(&path)));
            } else {
                match value {
                    Value::Object(inner) if known.iter().any(&below) => {
                        self.take(&path, inner, known, dead, warnings)?;
                    }
                    Value::Null if known.iter().any(below) => {}
                    _ => return Err(self.unknown(path, known)),
                }
            }
        }
        Ok(())
    }

    fn unknown(&self, key: String, known: &[&'static str]) -> LoadError {
        LoadError::UnknownKey { path: self.path.clone(), nearest: nearest(&key, known), key }
    }

    /// What the file says at `path`, as the text an environment variable would hold.
    pub(super) fn text(&self, spec: &ArgSpec, path: &str) -> Result<Option<String>, OptionError> {
        let Some(value) = self.values.get(path) else { return Ok(None) };
        let refused = |expected, found: &str| check::error(spec, &self.origin(path), expected, found);
        let text = match value {
            Value::Array(items) => {
                let mut text = String::new();
                for (at, item) in items.iter().enumerate() {
                    let item = scalar(item).ok_or_else(|| refused("a list of texts", "a list of lists"))?;
                    let _ = write!(text, "{}{item}", if at > 0 { "," } else { "" });
                }
                text
            }
            // A decimal loses digits on its way: `1.10` would become `1.1`.
            Value::Number(number) if spec.kind == ArgType::String && !number.is_i64() && !number.is_u64() => {
                return Err(refused("a text: put it in quotes", "a decimal number"));
            }
            other => scalar(other).ok_or_else(|| refused("a single value", "a map"))?,
        };
        Ok(Some(text))
    }

    /// The key with its file, for messages.
    pub(super) fn origin(&self, path: &str) -> String {
        format!("{path} in {}", self.path.display())
    }
}

fn read_bounded(path: &Path) -> Result<Option<String>, LoadError> {
    use std::io::Read as _;
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let problem = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(LoadError::Malformed { path: path.to_owned(), problem });
    }
    Ok(Some(text))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// The known key most like `key`, if a few changed letters are all.
fn nearest(key: &str, known: &[&'static str]) -> Option<String> {
    let scored = known.iter().map(|name| (distance(key, name), *name));
    let (changes, name) = scored.min()?;
    (changes <= key.len().div_ceil(3)).then(|| name.to_owned())
}

/// How many letters to add, drop or change to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
