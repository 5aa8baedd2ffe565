//! What may be asked of an agent: a list of methods and paths, judged on every stream at
//! both ends (decision 4).

use std::sync::Arc;

use http::{Method, Uri};

use crate::limits::RESERVED_PATH;

/// A method and a path; a path that ends with `/` allows everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The method.
    pub method: Method,
    /// The path, or the prefix of paths.
    pub path: String,
}

/// What may pass. The default leaves the judgement to others: everything passes but the
/// paths that the tunnel keeps for itself.
#[derive(Debug, Clone, Default)]
pub struct Policy(Option<Arc<[Allowed]>>);

impl Policy {
    /// Lets only this pass.
    pub fn only(allowed: Vec<Allowed>) -> Self {
        Self(Some(allowed.into()))
    }

    /// Whether a request may pass. A path with dot segments, empty segments or encoded
    /// separators never does when there is a list: it could mean another path to a backend.
    pub(crate) fn allows(&self, method: &Method, uri: &Uri) -> bool {
        let path = uri.path();
        if path.starts_with(RESERVED_PATH) {
            return false;
        }
        let Some(list) = &self.0 else { return true };
        let fits = |allowed: &Allowed| match allowed.path.ends_with('/') {
            true => path.starts_with(&allowed.path),
            false => path == allowed.path,
        };
        is_plain(path) && list.iter().any(|allowed| allowed.method == *method && fits(allowed))
    }
}

fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let tricks = ["//", "\\", "%2e", "%2f", "%5c", "%00", "%25"];
    !tricks.iter().any(|trick| lower.contains(trick))
        && !path.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, expected: bool) {
        let allowed = |method, path: &str| Allowed { method, path: path.to_owned() };
        let policy =
            Policy::only(vec![allowed(Method::POST, "/chat/completions"), allowed(Method::GET, "/files/")]);
        let uri: Uri = path.parse().expect("a path");
        assert_eq!(policy.allows(&method, &uri), expected, "{method} {path}");
    }

    #[test]
    fn only_listed_methods_and_paths_pass() {
        check(Method::POST, "/chat/completions?x=1", true);
        check(Method::GET, "/chat/completions", false);
        check(Method::POST, "/chat/completions/more", false);
        check(Method::GET, "/files/a/b", true);
        for trick in ["/files/../admin", "/files/%2e%2e/admin", "/files//admin", "/files/%2Fadmin"] {
            check(Method::GET, trick, false);
        }
    }

    #[test]
    fn the_tunnels_own_paths_are_never_asked_for() {
        let uri = Uri::from_static("/.nfrx/control");
        assert!(!Policy::default().allows(&Method::POST, &uri));
        assert!(Policy::default().allows(&Method::POST, &Uri::from_static("/anything")));
    }
}
