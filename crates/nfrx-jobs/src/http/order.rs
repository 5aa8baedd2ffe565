//! What a client asks for, read from its request.

use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use crate::answer::Failure;
use crate::ids::hex;
use crate::job::Order;
use crate::json::{Fields, Invalid};
use crate::labels::{LABEL_BYTES_MAX, LABELS_MAX};
use crate::store::Once;
use crate::time::Millis;

/// A job is tried so often unless its client asks otherwise (decision 29).
const ATTEMPTS: u64 = 3;
/// The most that a client may ask for.
const ATTEMPTS_MAX: u64 = 1000;
/// The longest key of a payload or result, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 256;
/// The most payloads that a job can wait for.
pub(super) const PAYLOADS_MAX: usize = 64;
/// The longest key of a request that is made once.
const ONCE_BYTES_MAX: usize = 255;
/// The longest first wait between tries, in seconds.
const RETRY_SECONDS_MAX: u64 = 3600;
/// The header under which a request is made once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Reads an order; the names of the jobs contract §3.1, and those that came after it.
pub(super) fn read(fields: &Fields, owner: Option<String>) -> Result<Order, Failure> {
    let kind = fields.text("type")?.filter(|kind| !kind.trim().is_empty());
    let attempts = fields.positive("max_attempts")?.unwrap_or(ATTEMPTS).min(ATTEMPTS_MAX);
    let retry = fields.positive("retry_delay_seconds")?.map(|seconds| seconds.min(RETRY_SECONDS_MAX) * 1000);
    let order = Order {
        kind: kind.ok_or(Failure::Missing("missing_type"))?,
        metadata: fields.object("metadata")?,
        worker_id: fields.trimmed("worker_id")?,
        worker_group: fields.trimmed("worker_group")?,
        labels: texts(fields, "labels")?,
        tags: texts(fields, "tags")?,
        priority: fields.integer("priority")?.unwrap_or_default(),
        not_before: fields.time("not_before")?,
        expires_at: fields.time("expires_at")?,
        max_attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        retry_delay: retry.map(Millis),
        keep: fields.flag("keep")?,
        payload_keys: payload_keys(fields)?,
        owner,
    };
    Ok(order)
}

/// The payloads that have to be stored before a worker gets the job.
fn payload_keys(fields: &Fields) -> Result<Vec<String>, Invalid> {
    let keys = fields.texts("payload_keys")?;
    if keys.len() > PAYLOADS_MAX || !keys.iter().all(|key| is_key(key)) {
        return Err(Invalid);
    }
    Ok(keys)
}

/// Whether a text can name a payload or result.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX && !key.chars().any(char::is_control)
}

/// A short list of short texts without line ends.
pub(super) fn texts(fields: &Fields, name: &str) -> Result<Vec<String>, Invalid> {
    let texts = fields.texts(name)?;
    let fits = |text: &String| {
        !text.trim().is_empty() && text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control)
    };
    if texts.len() > LABELS_MAX || !texts.iter().all(fits) {
        return Err(Invalid);
    }
    Ok(texts)
}

/// The key under which the request is made once, with the digest of what is asked. Keys are
/// apart for each named key of a caller.
pub(super) fn once(headers: &HeaderMap, body: &[u8], owner: Option<&str>) -> Result<Option<Once>, Failure> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().map(str::trim).map_err(|_| Failure::Invalid)?;
    if key.is_empty() || key.len() > ONCE_BYTES_MAX {
        return Err(Failure::Invalid);
    }
    let key = format!("{}\n{key}", owner.unwrap_or_default());
    Ok(Some(Once { key, digest: hex(&Sha256::digest(body)) }))
}
