//! Files of named keys: a YAML list of entries with a name, the SHA-256 digest of the key,
//! and what it allows (decision 18). The server reads them, the command line changes them.

use nfrx_spi::{Scopes, Secret};
use serde::{Deserialize, Serialize};

use crate::gate::digest::Digest;

/// Names appear in metrics and logs.
const NAME_CHARS_MAX: usize = 64;

/// The keys of one file, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyList(Vec<NamedKey>);

/// One key: what it is called and what it may do. An empty list of a scope allows all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedKey {
    /// 1 to 64 printable characters, unique in its file.
    pub name: String,
    /// The digest of the key's text, as 64 hexadecimal digits.
    pub sha256: String,
    /// Plugin ids that it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Models that it may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Worker ids that it may register, or reach by a targeted route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<String>,
    /// Whether it may drain, disconnect and cancel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
}

/// Why a list of keys is not one. None of them repeats what the file holds but names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyListError {
    /// Not a list of such entries.
    #[error(
        "it must be a list of name, sha256, services, models, workers and admin{}",
        line.map_or_else(String::new, |line| format!(" (line {line})"))
    )]
    Form {
        /// Where it goes wrong, if that is known.
        line: Option<u64>,
    },
    /// A name that can't be shown.
    #[error("a name must have 1 to {NAME_CHARS_MAX} printable characters")]
    Name,
    /// Two keys of one name.
    #[error("the name `{name}` is there already")]
    Twice {
        /// The name.
        name: String,
    },
    /// A digest that is none.
    #[error("sha256 of `{name}` must be 64 hexadecimal digits")]
    Digest {
        /// Whose digest.
        name: String,
    },
}

impl KeyList {
    /// Reads the text of a file; an empty one has no keys.
    pub fn parse(text: &str) -> Result<Self, KeyListError> {
        let entries: Option<Vec<NamedKey>> = serde_saphyr::from_str(text).map_err(|error| {
            // The error's own text quotes the file.
            KeyListError::Form { line: error.location().map(|at| at.line()) }
        })?;
        let mut list = Self::default();
        for entry in entries.unwrap_or_default() {
            list.push(entry)?;
        }
        Ok(list)
    }

    /// The keys, in the order of the file.
    pub fn keys(&self) -> &[NamedKey] {
        &self.0
    }

    /// Adds a key at the end; only its digest is kept.
    pub fn add(&mut self, name: &str, key: &Secret, scopes: Scopes) -> Result<(), KeyListError> {
        let Scopes { services, models, workers, admin } = scopes;
        let sha256 = Digest::of(key.reveal()).to_hex();
        self.push(NamedKey { name: name.to_owned(), sha256, services, models, workers, admin })
    }

    /// Removes the key of that name; false when there is none.
    pub fn revoke(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|key| key.name != name);
        self.0.len() < before
    }

    /// The text of a file that [`KeyList::parse`] reads again.
    pub fn text(&self) -> String {
        let mut text = String::from("# Made by `nfrx keys`, which keeps no other comments.\n");
        for key in &self.0 {
            // JSON is YAML, and one key a line is easy to look at and to compare.
            text.push_str("- ");
            text.push_str(&serde_json::to_string(key).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    fn push(&mut self, mut key: NamedKey) -> Result<(), KeyListError> {
        key.name = key.name.trim().to_owned();
        let name = &key.name;
        if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(KeyListError::Name);
        }
        if self.0.iter().any(|known| known.name == *name) {
            return Err(KeyListError::Twice { name: name.clone() });
        }
        if Digest::from_hex(&key.sha256).is_none() {
            return Err(KeyListError::Digest { name: name.clone() });
        }
        self.0.push(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

    #[test]
    fn entries_have_a_name_a_digest_and_scopes() {
        let text = format!("- name: ops\n  sha256: {DIGEST}\n  services: [llm]\n  admin: true\n");
        let list = KeyList::parse(&text).expect("a valid file");
        let key = &list.keys()[0];
        assert_eq!(
            (key.name.as_str(), key.admin, key.services.as_slice()),
            ("ops", true, &["llm".into()][..])
        );
        assert!(KeyList::parse("").expect("an empty file has no keys").keys().is_empty());
    }

    #[test]
    fn what_is_written_is_read_again_and_holds_no_key() {
        let mut list = KeyList::default();
        let scopes = Scopes { models: vec!["qwen3:8b".into(), "# \"x\": y".into()], ..Scopes::default() };
        list.add("pipeline: nightly #1", &Secret::new("hunter2"), scopes).expect("a good name");
        list.add("null", &Secret::new("hunter3"), Scopes::default()).expect("a good name");
        let text = list.text();
        assert_eq!(KeyList::parse(&text).as_ref(), Ok(&list), "{text}");
        assert!(text.contains(DIGEST) && !text.contains("hunter"), "{text}");
        assert!(list.revoke("null") && !list.revoke("null"));
        assert_eq!(list.keys().len(), 1);
        assert_eq!(KeyList::parse(&KeyList::default().text()), Ok(KeyList::default()));
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = KeyList::parse(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "`{error}` should contain `{expected}`");
    }

    #[test]
    fn a_broken_file_is_named_without_its_contents() {
        check_error("- name: a\n  sha256: short\n", "64 hexadecimal digits");
        check_error("- name: ''\n  sha256: x\n", "1 to 64 printable");
        check_error(&format!("- &a {{name: a, sha256: {DIGEST}}}\n- *a\n"), "there already");
        check_error("- name: a\n  key: hunter2\n  sha256: x\n", "list of name, sha256");
        let error = KeyList::parse("- name: a\n  key: hunter2\n").expect_err("an unknown field");
        assert!(!error.to_string().contains("hunter2"));
    }
}
