//! Options: from the declarations ([`ArgSpec`]) of a process and its plugins to values.
//!
//! Order: defaults < YAML file < environment < flags (KD-59). Each value is checked
//! against its type here, so that a wrong one stops the start and is named with the
//! place it came from (KD-78). An unknown flag or YAML key stops the start, an unknown
//! variable never does (decision 21). A variable set to nothing is not set.

mod check;
mod file;
mod flags;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use nfrx_spi::{ArgSpec, OptionError, PluginOptions};

use file::SettingsFile;

/// The id of the option that names the YAML file, in whatever group it is.
pub const CONFIG_FILE: &str = "config_file";

/// Everything that may be set, in groups: the process's own options and one group per
/// plugin.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    groups: Vec<(&'static str, Vec<ArgSpec>)>,
    dead: Vec<&'static str>,
}

/// The values that were found.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    groups: BTreeMap<&'static str, PluginOptions>,
    /// What an operator should know, one sentence each, without secrets.
    pub warnings: Vec<String>,
}

/// Why options could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is there but can't be read.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not YAML, or not a map. What it holds is not repeated: it may be
    /// a key.
    #[error("{} is not valid: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// A key that no option has.
    #[error("{}: unknown key `{key}`{}", path.display(), hint(nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key's path.
        key: String,
        /// The known key most like it, if one is.
        nearest: Option<String>,
    },
    /// A value is not what its option takes.
    #[error(transparent)]
    Value(#[from] OptionError),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!(", did you mean `{key}`?"))
}

impl Catalogue {
    /// Without options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a group of options under a name that [`Loaded::group`] finds again.
    pub fn add(&mut self, group: &'static str, specs: Vec<ArgSpec>) -> &mut Self {
        self.groups.push((group, specs));
        self
    }

    /// Names YAML keys that old sample files have and nothing reads: they only warn
    /// (KD-58).
    pub fn dead_keys(&mut self, keys: &[&'static str]) -> &mut Self {
        self.dead.extend(keys);
        self
    }

    /// Every option with its group, in the order in which they were added: the table
    /// for help and reference.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &ArgSpec)> {
        self.groups.iter().flat_map(|(group, specs)| specs.iter().map(|spec| (*group, spec)))
    }

    /// The flags, for the command of a process.
    pub fn args(&self) -> Vec<clap::Arg> {
        self.rows().filter_map(|(_, spec)| flags::arg(spec)).collect()
    }

    /// Flags with one dash, as Go takes them, with two (KD-56).
    pub fn normalise(&self, args: impl IntoIterator<Item = String>) -> Vec<String> {
        let known: Vec<_> = self.rows().flat_map(|(_, spec)| flags::names(spec)).collect();
        flags::normalise(args, &known)
    }

    /// Finds all values. The YAML file is the one that [`CONFIG_FILE`] names, else
    /// `default_file`; that it isn't there is fine. `env` gives a variable's text.
    pub fn load(
        &self,
        default_file: &Path,
        env: &dyn Fn(&str) -> Option<String>,
        flags: &ArgMatches,
    ) -> Result<Loaded, LoadError> {
        let env = |name: &str| env(name).filter(|text| !text.is_empty());
        let mut loaded = Loaded::default();
        let file = self.read_file(default_file, &env, flags, &mut loaded.warnings)?;
        for (group, specs) in &self.groups {
            let mut values = BTreeMap::new();
            for spec in specs {
                if let Some(found) = find(spec, &file, &env, flags)? {
                    loaded.warnings.extend(found.warning(spec));
                    check::value(spec, &found.origin, &found.text)?;
                    values.insert(spec.id.to_owned(), found.text);
                }
            }
            loaded.groups.insert(group, PluginOptions::new(specs.clone(), values));
        }
        Ok(loaded)
    }

    fn read_file(
        &self,
        default_file: &Path,
        env: &dyn Fn(&str) -> Option<String>,
        flags: &ArgMatches,
        warnings: &mut Vec<String>,
    ) -> Result<SettingsFile, LoadError> {
        let spec = self.rows().map(|(_, spec)| spec).find(|spec| spec.id == CONFIG_FILE);
        let named = match spec {
            Some(spec) => find(spec, &SettingsFile::default(), env, flags)?,
            None => None,
        };
        let path = named.as_ref().map_or_else(|| default_file.to_owned(), |found| found.text.clone().into());
        let known: Vec<_> = self.rows().flat_map(|(_, spec)| file::paths(spec)).collect();
        match SettingsFile::read(&path, &known, &self.dead, warnings)? {
            Some(file) => Ok(file),
            None => {
                if let Some(found) = named {
                    warnings.push(format!("{} names {}, which does not exist", found.origin, path.display()));
                }
                Ok(SettingsFile::default())
            }
        }
    }
}

impl Loaded {
    /// The values of a group; without any when there is no such group.
    pub fn group(&self, group: &str) -> PluginOptions {
        self.groups.get(group).cloned().unwrap_or_default()
    }
}

/// A value and where it came from.
struct Found {
    text: String,
    origin: String,
    flag: bool,
}

impl Found {
    fn warning(&self, spec: &ArgSpec) -> Option<String> {
        if self.flag && spec.secret {
            let better = if spec.env.is_empty() { spec.yaml } else { spec.env };
            return Some(format!("{} is seen in the list of processes: set {better} instead", self.origin));
        }
        spec.deprecated.then(|| match spec.replacement {
            "" => format!("{} is deprecated", self.origin),
            other => format!("{} is deprecated: use {other}", self.origin),
        })
    }
}

fn find(
    spec: &ArgSpec,
    file: &SettingsFile,
    env: &dyn Fn(&str) -> Option<String>,
    flags: &ArgMatches,
) -> Result<Option<Found>, LoadError> {
    if let Some(text) = flags::value(spec, flags) {
        return Ok(Some(Found { text, origin: spec.flag.to_owned(), flag: true }));
    }
    for name in variables(spec) {
        if let Some(text) = env(name) {
            return Ok(Some(Found { text, origin: name.to_owned(), flag: false }));
        }
    }
    for path in file::paths(spec) {
        if let Some(text) = file.text(spec, path)? {
            return Ok(Some(Found { text, origin: file.origin(path), flag: false }));
        }
    }
    Ok(None)
}

fn variables(spec: &ArgSpec) -> impl Iterator<Item = &'static str> {
    let is_variable =
        |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit());
    Some(spec.env)
        .into_iter()
        .chain(spec.aliases.iter().copied().filter(is_variable))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
