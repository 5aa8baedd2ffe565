//! What an agent tells of one of its servers when the relay's operator asks: beside what it
//! offers all the time, and too much to be told all the time.

use serde::{Deserialize, Serialize};

use crate::offer::segment;

/// Tools that are told of; a server with more is described by its first ones.
const TOOLS_MAX: usize = 500;

/// A longer text is cut, in characters.
const TEXT_MAX: usize = 1024;

/// A description is never longer, in bytes.
pub(crate) const ABOUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One server, as its agent sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The server's own name and version; empty when it gave none.
    #[serde(default)]
    pub(crate) software: String,
    /// The revision of the protocol that it speaks; empty when it gave none.
    #[serde(default)]
    pub(crate) revision: String,
    /// The tools that callers see who have no list of their own.
    #[serde(default)]
    pub(crate) tools: Vec<AboutTool>,
    /// Why it gave no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    /// The last lines of its standard error, the newest last; `None` for a server that the
    /// agent does not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stderr: Option<Vec<String>>,
}

/// One tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AboutTool {
    /// Its name.
    pub(crate) name: String,
    /// Whether it says that it changes nothing.
    #[serde(default)]
    pub(crate) read_only: bool,
}

impl About {
    /// The same within its bounds. Both ends see to them: neither believes the other.
    pub(crate) fn bounded(mut self) -> Self {
        let cut = |text: &mut String| {
            if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
                text.truncate(end);
            }
        };
        self.tools.truncate(TOOLS_MAX);
        let names = self.tools.iter_mut().map(|tool| &mut tool.name);
        let lines = self.stderr.iter_mut().flatten();
        [&mut self.software, &mut self.revision].into_iter().for_each(cut);
        names.chain(lines).chain(&mut self.problem).for_each(cut);
        self
    }
}

/// The path in the tunnel at which the server with this id is described.
pub(crate) fn about_path(id: &str) -> String {
    format!("{ABOUT}{}", segment(id))
}

/// What stands before the id.
pub(crate) const ABOUT: &str = "/about/";

#[cfg(test)]
mod tests {
    use super::*;

    // Seen to fail: without the cut of tools' names, and without that of the list.
    #[test]
    fn no_description_is_over_its_bounds() {
        let long = "é".repeat(TEXT_MAX + 5);
        let tool = AboutTool { name: long.clone(), read_only: true };
        let about = About {
            software: long.clone(),
            revision: long.clone(),
            tools: vec![tool; TOOLS_MAX + 1],
            problem: Some(long.clone()),
            stderr: Some(vec![long]),
        };
        let about = about.bounded();
        assert_eq!(about.tools.len(), TOOLS_MAX);
        let texts = [&about.software, &about.revision, &about.tools[0].name];
        let texts = texts.into_iter().chain(&about.problem).chain(about.stderr.iter().flatten());
        assert!(texts.inspect(|text| assert_eq!(text.chars().count(), TEXT_MAX)).count() == 5);
        assert!(serde_json::to_vec(&about).expect("plain").len() < ABOUT_BYTES_MAX);
    }
}
