//! The jobs API as this crate uses it.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use nfrx_agent::BaseUrl;
use nfrx_agent::client::{BackendClient, ClientError, Silence};
use nfrx_spi::{Body, Secret};
use serde_json::Value;

/// An answer that is read whole may have so many bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a server may be silent: claims and long polls are, and a channel whose other side
/// is not there yet.
const SILENCE: Silence =
    Silence { head: Some(Duration::from_secs(360)), body: Some(Duration::from_secs(300)) };

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It gave no answer.
    #[error("the server gives no answer: {0}")]
    Away(#[from] ClientError),
    /// It refused.
    #[error("the server answered {status}{}{code}", if code.is_empty() { "" } else { ": " })]
    Refused {
        /// The status.
        status: StatusCode,
        /// The code in the body, if there is one.
        code: String,
    },
    /// It broke off, or said something else than what was asked for.
    #[error("the server's answer can't be read")]
    Answer,
}

impl ApiError {
    /// The status, if there was one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.as_u16()),
            Self::Away(_) | Self::Answer => None,
        }
    }

    /// Whether the same may succeed in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        self.status().is_none_or(|status| status >= 500 && status != 507)
    }
}

/// A server, and the key that it is shown. Clones share connections.
#[derive(Clone)]
pub struct Api {
    client: BackendClient,
    key: Option<HeaderValue>,
}

impl Api {
    /// The server at `url`; a blank key is none.
    pub fn new(url: &str, key: &Secret) -> anyhow::Result<Self> {
        let base = BaseUrl::parse(url.trim_end_matches('/'))
            .context("the address must be like https://host:port")?;
        let key = match key.reveal().trim() {
            "" => None,
            text => {
                let value = HeaderValue::try_from(format!("Bearer {text}"));
                let mut value = value.context("the key must hold visible ASCII characters only")?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let client = BackendClient::new(base, None).context("no client can be made")?;
        Ok(Self { client, key })
    }

    /// Asks, and gives a good answer's head; its body streams.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Body,
    ) -> Result<Response<Body>, ApiError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.client.base().join(path).parse().map_err(|_| ApiError::Answer)?;
        let own = self.key.iter().map(|key| (AUTHORIZATION, key.clone()));
        request.headers_mut().extend(own.chain(headers.iter().cloned()));
        let answer = self.client.ask(request, SILENCE).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let said = whole(answer).await.unwrap_or_default();
        let code = serde_json::from_slice::<Value>(&said).unwrap_or_default();
        let code = code["error"].as_str().map(plain).unwrap_or_default();
        Err(ApiError::Refused { status, code })
    }

    /// The same with JSON both ways; `null` for an answer without a body.
    pub(crate) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = match body {
            None => self.send(method, path, &[], Body::empty()).await?,
            Some(body) => self.send(method, path, &[kind], Body::from(body.to_string())).await?,
        };
        match whole(answer).await? {
            empty if empty.is_empty() => Ok(Value::Null),
            text => serde_json::from_slice(&text).map_err(|_| ApiError::Answer),
        }
    }

    /// A job, at once; or, with the revision that is known, when it has another one.
    pub(crate) async fn job(&self, id: &str, known: Option<u64>) -> Result<Value, ApiError> {
        let query = known.map_or(String::new(), |known| format!("?wait_seconds=30&revision={known}"));
        self.json(Method::GET, &format!("/api/jobs/{}{query}", segment(id)), None).await
    }
}

/// A text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What others wrote, fit for a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

async fn whole(answer: Response<Body>) -> Result<Bytes, ApiError> {
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok(body.map_err(|_| ApiError::Answer)?.to_bytes())
}
