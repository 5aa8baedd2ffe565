//! Asks a token endpoint for a token (RFC 6749 §4.4): bounded in time, size and redirects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use nfrx_agent::client::{BackendClient, ClientError, Silence};
use nfrx_spi::{Body, CallError, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::{OAuthSettings, TokenError};

/// How long a token may be waited for, redirects and both ways to ask included.
pub(super) const FETCH_MAX: Duration = Duration::from_secs(10);

/// A longer answer holds no token.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Redirects of one question that are followed.
const REDIRECTS_MAX: u32 = 3;
/// An error's code is shown up to here.
const CODE_MAX: usize = 64;
/// No token is believed to live longer.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a form need not escape.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A token, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) token: Secret,
    /// How long it is good; `None` if nobody said.
    pub(super) lifetime: Option<Duration>,
}

/// How a client proves itself. Endpoints take one or the other (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Header,
    Form,
}

/// Asks for a token. Which proof the endpoint takes is remembered in `in_form`.
pub(super) async fn fetch(
    client: &BackendClient,
    settings: &OAuthSettings,
    in_form: &AtomicBool,
) -> Result<Granted, TokenError> {
    let fetching = async {
        let proof = match &settings.client_secret {
            Some(_) if !in_form.load(Ordering::Relaxed) => Proof::Header,
            _ => return ask(client, settings, Proof::Form).await,
        };
        match ask(client, settings, proof).await {
            Err(TokenError::Refused { status, code, .. }) if status == 401 || code == "invalid_client" => {
                let granted = ask(client, settings, Proof::Form).await?;
                in_form.store(true, Ordering::Relaxed);
                Ok(granted)
            }
            other => other,
        }
    };
    let late = |_| Err(TokenError::Timeout { endpoint: settings.token_url.to_string() });
    tokio::time::timeout(FETCH_MAX, fetching).await.unwrap_or_else(late)
}

async fn ask(client: &BackendClient, settings: &OAuthSettings, proof: Proof) -> Result<Granted, TokenError> {
    let endpoint = || settings.token_url.to_string();
    let useless = |problem| TokenError::Useless { endpoint: endpoint(), problem };
    let no_answer = |error: &ClientError| TokenError::NoAnswer {
        endpoint: endpoint(),
        problem: error.to_string(),
        call_error: error.call_error(),
    };
    let form = Bytes::from(form(settings, proof));
    let mut target = settings.token_url.target("/", None);
    for _ in 0..=REDIRECTS_MAX {
        let mut request = Request::new(Body::from(form.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::try_from(&target).map_err(|_| useless("its redirect leads nowhere"))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if proof == Proof::Header {
            headers.insert(AUTHORIZATION, basic(settings)?);
        }
        // All of it has a bound above.
        let answer = client.ask(request, Silence::default()).await.map_err(|error| no_answer(&error))?;
        match redirected(settings, &target, &answer) {
            Some(next) => target = next,
            None => return read(settings, answer).await,
        }
    }
    Err(useless("it redirects in a circle"))
}

/// The target to ask instead: 307 and 308 within the same host and port, and nothing else, for
/// the question holds the secret (KD-150).
fn redirected(settings: &OAuthSettings, target: &str, answer: &Response<Body>) -> Option<String> {
    if !matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return None;
    }
    settings.token_url.redirected(target, answer.headers().get(LOCATION)?.to_str().ok()?)
}

fn form(settings: &OAuthSettings, proof: Proof) -> String {
    let mut form = "grant_type=client_credentials".to_owned();
    let mut add = |name: &str, value: &str| {
        form.push_str(&format!("&{name}={}", utf8_percent_encode(value, PLAIN)));
    };
    if !settings.scopes.is_empty() {
        add("scope", &settings.scopes);
    }
    if proof == Proof::Form {
        add("client_id", &settings.client_id);
        if let Some(secret) = &settings.client_secret {
            add("client_secret", secret.reveal());
        }
    }
    form
}

fn basic(settings: &OAuthSettings) -> Result<HeaderValue, TokenError> {
    let secret = settings.client_secret.as_ref().map(Secret::reveal).unwrap_or_default();
    let escaped = |text| utf8_percent_encode(text, PLAIN);
    let pair = format!("{}:{}", escaped(&settings.client_id), escaped(secret));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).map_err(|_| {
        TokenError::Useless {
            endpoint: settings.token_url.to_string(),
            problem: "no header takes the secret",
        }
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// What an endpoint answers, whether it gives a token or not.
#[derive(Deserialize, Default)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Value>,
    error: Option<String>,
}

async fn read(settings: &OAuthSettings, answer: Response<Body>) -> Result<Granted, TokenError> {
    let endpoint = || settings.token_url.to_string();
    let useless = |problem| TokenError::Useless { endpoint: endpoint(), problem };
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let said: Result<Answer, _> = match body {
        Ok(body) => serde_json::from_slice(&body.to_bytes()).map_err(|_| "it is no JSON with a token"),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err("it is too long"),
        Err(_) => {
            return Err(TokenError::NoAnswer {
                endpoint: endpoint(),
                problem: "it broke off".to_owned(),
                call_error: CallError::Upstream,
            });
        }
    };
    if !status.is_success() {
        let code = said.unwrap_or_default().error.unwrap_or_default();
        // Only what a code may hold: an endpoint must not get a secret into our log.
        let code: String =
            code.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(CODE_MAX).collect();
        return Err(TokenError::Refused { endpoint: endpoint(), status: status.as_u16(), code });
    }
    let said = said.map_err(useless)?;
    if said.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(useless("the token is none to be sent as Bearer"));
    }
    let token =
        said.access_token.filter(|token| !token.is_empty() && token.bytes().all(|c| c.is_ascii_graphic()));
    let token = Secret::new(token.ok_or_else(|| useless("it has no token that a header takes"))?);
    let seconds = said.expires_in.and_then(|value| match value {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        value => value.as_f64(),
    });
    let lifetime = seconds.map(|seconds| {
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LIFETIME_MAX).min(LIFETIME_MAX)
    });
    Ok(Granted { token, lifetime })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Endpoint;

    fn settings() -> OAuthSettings {
        OAuthSettings {
            token_url: Endpoint::parse("https://h/token?key=hunter2").expect("a good address"),
            client_id: "a b".to_owned(),
            client_secret: Some(Secret::new("s&c:r/t-1")),
            scopes: "read write".to_owned(),
            token_file: None,
        }
    }

    async fn of(status: u16, body: &str) -> Result<(String, Option<u64>), String> {
        let mut answer = Response::new(Body::from(body.to_owned()));
        *answer.status_mut() = StatusCode::from_u16(status).expect("a good status");
        let granted = read(&settings(), answer).await.map_err(|error| error.to_string())?;
        Ok((granted.token.reveal().to_owned(), granted.lifetime.map(|lifetime| lifetime.as_secs())))
    }

    // Seen to fail: without the escapes.
    #[test]
    fn a_client_proves_itself_in_one_place_only() {
        let header = form(&settings(), Proof::Header);
        assert_eq!(header, "grant_type=client_credentials&scope=read%20write");
        let body = form(&settings(), Proof::Form);
        assert_eq!(body, format!("{header}&client_id=a%20b&client_secret=s%26c%3Ar%2Ft-1"));
        let value = basic(&settings()).expect("a good secret");
        let pair = format!("Basic {}", STANDARD.encode("a%20b:s%26c%3Ar%2Ft-1"));
        assert!(value.is_sensitive() && value == pair);
    }

    #[tokio::test]
    async fn a_token_is_read_with_or_without_its_lifetime() {
        let token = |rest: &str| format!(r#"{{"access_token":"t","token_type":"bearer"{rest}}}"#);
        assert_eq!(of(200, &token("")).await, Ok(("t".to_owned(), None)));
        for (written, seconds) in [("3600", 3600), ("\"60\"", 60), ("-1", 0), ("1e99", 31_536_000)] {
            let answer = token(&format!(",\"expires_in\":{written}"));
            assert_eq!(of(200, &answer).await, Ok(("t".to_owned(), Some(seconds))), "{written}");
        }
    }

    // Seen to fail: with the whole error of an endpoint repeated.
    #[tokio::test]
    async fn what_is_no_token_is_told_without_anything_that_was_sent() {
        let error = of(400, r#"{"error":"invalid_client HUNTER2","error_description":"hunter2"}"#).await;
        let expected =
            "the token endpoint https://h/token gives no token: status 400 and error `invalid_client`";
        assert_eq!(error, Err(expected.to_owned()));
        assert!(of(503, "<html>").await.is_err_and(|error| error.ends_with("status 503")));
        let long = " ".repeat(ANSWER_BYTES_MAX + 1);
        for (answer, expected) in [
            ("<html>", "no JSON"),
            ("{}", "no token that a header takes"),
            (r#"{"access_token":"a b"}"#, "no token that a header takes"),
            (r#"{"access_token":"t","token_type":"mac"}"#, "Bearer"),
            (long.as_str(), "too long"),
        ] {
            let error = of(200, answer).await.expect_err("no token");
            assert!(error.contains(expected), "{error}");
        }
    }
}
