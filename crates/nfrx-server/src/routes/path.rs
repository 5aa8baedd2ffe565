//! Raw paths: which of them may match at all, and how a parameter is read.

use percent_encoding::percent_decode_str;

/// Whether a path may match a route. Empty and dot segments, in whatever encoding, and
/// backslashes mean different things to different programs, so here they mean nothing.
pub(super) fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let is_empty = segment.is_empty() && !is_last;
        if is_empty || is_dots(segment) || segment.contains('\\') {
            return false;
        }
    }
    true
}

fn is_dots(segment: &str) -> bool {
    // `%2e` in either case is the only other way to write a dot.
    segment.len() <= 6
        && segment.starts_with(['.', '%'])
        && matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// What a parameter holds; `None` when it is no text, or has control characters.
pub(super) fn decode(raw: &str) -> Option<String> {
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    (!text.chars().any(char::is_control)).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_dot_segments_match_nothing() {
        for plain in ["/", "/a", "/a/", "/a/b.c", "/a/...", "/a%2Fb", "/a/.b"] {
            assert!(is_plain(plain), "{plain}");
        }
        for odd in
            ["", "*", "a", "//", "/a//b", "/a/../b", "/a/%2e%2E/b", "/a/.%2e", "/./a", "/a\\b", "/a/.."]
        {
            assert!(!is_plain(odd), "{odd}");
        }
    }

    #[test]
    fn a_parameter_is_decoded_once() {
        assert_eq!(decode("hf.co%2Fm:Q4").as_deref(), Some("hf.co/m:Q4"));
        assert_eq!(decode("%252e").as_deref(), Some("%2e"));
        assert_eq!((decode("a%00"), decode("%ff"), decode("a%0Ab")), (None, None, None));
    }
}
