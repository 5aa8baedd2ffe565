//! Patterns with their parameters' names taken out: two plugins may call the same
//! segment by different names, and the compiled table must not care.

use std::sync::Arc;

/// A pattern whose parameters are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    /// The numbered form of a pattern, and its parameters' names in order.
    pub(super) fn of(pattern: &str) -> (Self, Vec<Arc<str>>) {
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut numbered = String::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((before, from)) = rest.split_once('{') {
            let Some((name, after)) = from.split_once('}') else { break };
            let star = if name.starts_with('*') { "*" } else { "" };
            numbered.push_str(&format!("{before}{{{star}p{}}}", names.len()));
            names.push(name.trim_start_matches('*').into());
            rest = after;
        }
        numbered.push_str(rest);
        (Self(numbered), names)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers() {
        let (pattern, names) = Pattern::of("/a/{id}/v1/{*path}");
        assert_eq!(pattern.as_str(), "/a/{p0}/v1/{*p1}");
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["id", "path"]);
        assert_eq!(Pattern::of("/view/{id}.html").0.as_str(), "/view/{p0}.html");
    }
}
