//! A small question to the backend, such as which models it has.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use nfrx_spi::Body;

use super::{BackendClient, ClientError};
use crate::BackendKey;

/// A list of models is far smaller.
const REPLY_BYTES_MAX: usize = 1024 * 1024;

/// That much of an error's body helps a person; the rest stays unread.
const ERROR_BYTES_MAX: usize = 512;

/// A short answer, read whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's body, at most 1 MiB; at most 512 bytes of one that is no success.
    pub body: Bytes,
}

/// Why a question got no short answer.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The backend gave no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer broke off, or went silent.
    #[error("the answer broke off: {0}")]
    Body(#[source] nfrx_spi::BodyError),
    /// The answer is longer than any list should be.
    #[error("the answer is longer than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
}

impl BackendClient {
    /// Asks for `target`, the whole path on the backend's host. Redirects are answers
    /// like any other. The caller bounds the time.
    pub async fn get(&self, target: &str, key: Option<&BackendKey>) -> Result<Reply, GetError> {
        // Questions come every now and then: time to let go of what the backend closed.
        self.sweep();
        let mut request =
            Request::get(target).body(Body::empty()).map_err(|_| GetError::Client(ClientError::Request))?;
        question_headers(request.headers_mut(), key);
        let (head, mut body) = self.send(request).await?.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(GetError::Body)?.into_data() else { continue };
            bytes.extend_from_slice(&data);
            if !head.status.is_success() && bytes.len() >= ERROR_BYTES_MAX {
                bytes.truncate(ERROR_BYTES_MAX);
                break;
            }
            if bytes.len() > REPLY_BYTES_MAX {
                return Err(GetError::TooLarge { bytes_max: REPLY_BYTES_MAX });
            }
        }
        Ok(Reply { status: head.status, body: bytes.freeze() })
    }
}

fn question_headers(headers: &mut HeaderMap, key: Option<&BackendKey>) {
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(key) = key {
        headers.insert(header::AUTHORIZATION, key.header().clone());
    }
}
