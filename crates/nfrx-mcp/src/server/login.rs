//! Who may call a server (KD-120): whoever the relay's own login lets in, or who shows the
//! server's own token.

use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use nfrx_spi::{Body, Login, LoginRefused};

use super::headers::add_param;
use crate::digest::TokenDigest;

/// Why somebody may not call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody but who has the key, or this server's token; the text says what to do.
    Closed(Arc<str>),
    /// Everybody may call, but this server wants its own token.
    Token,
}

/// Judges a caller of a server with this token, if it has one.
///
/// A key or a role of the relay opens every server. Where everybody may come in, be it this
/// machine's own users or by `MCP_PUBLIC`, a server's token still counts.
pub(super) fn judge(
    login: &Login,
    public: bool,
    token: Option<&TokenDigest>,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let shows_token = token.is_some_and(|token| bearers(headers).any(|shown| token.is_of(shown)));
    match login {
        Login::Key | Login::Role => Ok(()),
        _ if shows_token => Ok(()),
        Login::Refused(hint) if !public => Err(Refusal::Closed(Arc::clone(hint))),
        Login::Open | Login::Refused(_) if token.is_some() => Err(Refusal::Token),
        Login::Open | Login::Refused(_) => Ok(()),
    }
}

/// The bearer tokens in the headers. Several are no mistake that is worth a rule: each is
/// compared, none is passed on.
fn bearers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case("bearer ").then_some(token.trim()).filter(|token| !token.is_empty())
    })
}

impl Refusal {
    fn text(&self) -> String {
        match self {
            Self::Closed(hint) => format!(
                "{hint}. The MCP server's own token (AUTH_TOKEN of its agent) is taken as well; \
                 MCP_PUBLIC=true on the relay opens all MCP servers, as old releases did"
            ),
            Self::Token => {
                "this MCP server wants its own token (AUTH_TOKEN of its agent): send it as Authorization: Bearer TOKEN".to_owned()
            }
        }
    }

    /// The whole answer. `metadata` is where RFC 9728 has the server described.
    pub(super) fn response(&self, metadata: Option<&str>) -> Response<Body> {
        let text = self.text();
        let clean: String =
            text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        let mut challenge = format!("Bearer realm=\"nfrx\", error_description=\"{clean}\"");
        if let Some(url) = metadata {
            challenge = add_param(&challenge, "resource_metadata", url);
        }
        let mut response = Response::new(Body::from(format!("{text}\n")));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(LoginRefused);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `case` is `login public token shown`, with `-` for what is not there.
    #[track_caller]
    fn check(case: &str, expected: &str) {
        let words: Vec<_> = case.split(' ').collect();
        let login = match words[0] {
            "key" => Login::Key,
            "role" => Login::Role,
            "open" => Login::Open,
            _ => Login::Refused("send a key".into()),
        };
        let token = (words[2] != "-").then(|| TokenDigest::of(words[2]));
        let mut headers = HeaderMap::new();
        if words[3] != "-" {
            let value = format!("BEARER  {}", words[3]);
            headers.insert(AUTHORIZATION, HeaderValue::try_from(value).expect("a value"));
        }
        let found = match judge(&login, words[1] == "public", token.as_ref(), &headers) {
            Ok(()) => "ok",
            Err(Refusal::Closed(_)) => "closed",
            Err(Refusal::Token) => "token",
        };
        assert_eq!(found, expected, "{case}");
    }

    #[test]
    fn a_key_a_role_or_the_servers_own_token_opens_a_server() {
        check("key - - -", "ok");
        check("role - t -", "ok");
        check("refused - - -", "closed");
        check("refused - - guess", "closed");
        check("refused - t t", "ok");
        // Seen to fail: with any token taken for the right one.
        check("refused - t guess", "closed");
    }

    #[test]
    fn where_everybody_may_come_in_a_servers_token_still_counts() {
        check("open - - -", "ok");
        check("refused public - -", "ok");
        check("open - t -", "token");
        check("refused public t -", "token");
        check("refused public t t", "ok");
        check("open - t t", "ok");
    }

    #[test]
    fn a_refusal_says_what_to_do_and_where_it_is_described() {
        let response = Refusal::Closed("send the key".into()).response(Some("https://relay/.well-known/x"));
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().expect("text");
        assert!(challenge.contains("MCP_PUBLIC=true") && challenge.contains("send the key"), "{challenge}");
        assert!(challenge.ends_with("resource_metadata=\"https://relay/.well-known/x\""), "{challenge}");
        assert!(response.extensions().get::<LoginRefused>().is_some());
        let text = response.body().as_bytes().expect("at hand");
        assert!(String::from_utf8_lossy(&text).contains("AUTH_TOKEN"));
    }
}
