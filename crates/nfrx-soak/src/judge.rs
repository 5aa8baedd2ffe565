//! Whether what a client got is something that a client may get.

use http::StatusCode;
use nfrx_testkit::fault::MARK;
use serde_json::Value;

use crate::catalog::{Entry, Form};

/// What a client got.
pub(crate) struct Got {
    /// `None` when there was no head.
    pub(crate) status: Option<StatusCode>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to a clean end.
    pub(crate) whole: bool,
}

/// The kinds of ends that are right.
pub(crate) type End = &'static str;

/// Judges; the error says what is wrong.
pub(crate) fn judge(entry: &Entry, got: &Got) -> Result<End, String> {
    let Some(status) = got.status else { return Ok("broken before its head") };
    let body = match entry.form {
        Form::Events => without_queue_events(&got.body),
        Form::Bytes | Form::Joined => &got.body,
    };
    if status != StatusCode::OK || (entry.right.status != StatusCode::OK && status == entry.right.status) {
        return error(entry, status, body, got.whole);
    }
    if body == MARK.as_bytes() || !got.whole && !body.is_empty() && MARK.as_bytes().starts_with(body) {
        return Ok("a lie, passed on");
    }
    if got.whole {
        return match entry.form {
            _ if entry.right.whole && is_right(entry, body) => Ok("right"),
            Form::Events if is_error_event(body) => Ok("error event"),
            _ => Err("an answer that looks whole and is wrong".to_owned()),
        };
    }
    match entry.form {
        // It is put together from parts: only its JSON can be compared.
        Form::Joined => Ok("broken in its body"),
        _ if entry.right.body.starts_with(body) => Ok("broken in its body"),
        Form::Events if is_half_an_error_event(body) => Ok("broken in an error event"),
        _ => Err("what came before the break is not the beginning of the right answer".to_owned()),
    }
}

fn is_right(entry: &Entry, body: &[u8]) -> bool {
    match entry.form {
        Form::Bytes | Form::Events => entry.right.body == body,
        Form::Joined => {
            let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
            let vectors = |value: Value| value.get("data").cloned();
            let (right, came) = (json(&entry.right.body), json(body));
            came.is_some() && came.and_then(vectors) == right.and_then(vectors)
        }
    }
}

/// An error has a status of its own and a body that says something.
fn error(entry: &Entry, status: StatusCode, body: &[u8], whole: bool) -> Result<End, String> {
    if !status.is_client_error() && !status.is_server_error() {
        return Err(format!("an unexpected status, {status}"));
    }
    if status == entry.right.status && body == entry.right.body {
        return Ok("the backend's error");
    }
    if !whole {
        return Ok("broken in an error's body");
    }
    let ours = [400, 404, 408, 413, 429, 500, 502, 503, 504];
    if !ours.contains(&status.as_u16()) || body.is_empty() {
        return Err(format!("an error that is nobody's, {status}"));
    }
    // Whoever asks rightly has not asked wrongly, however much breaks.
    if matches!(status.as_u16(), 400 | 408 | 413 | 429 | 500) {
        return Err(format!("an error that blames the wrong one, {status}"));
    }
    Ok(match status.as_u16() {
        404 => "error 404: nobody offers the model",
        502 => "error 502",
        503 => "error 503",
        _ => "error 504",
    })
}

/// A body without the events of the queue at its beginning.
fn without_queue_events(mut body: &[u8]) -> &[u8] {
    while body.starts_with(QUEUE_EVENT) {
        let Some(end) = body.windows(2).position(|two| two == b"\n\n") else { return b"" };
        body = &body[end + 2..];
    }
    // No other event has a name that begins so: it broke off within the name.
    match body.len() > UNNAMED.len() && QUEUE_EVENT.starts_with(body) {
        true => b"",
        false => body,
    }
}

const QUEUE_EVENT: &[u8] = b"event: nfrx.queue\n";

/// How every event with a name begins.
const UNNAMED: &[u8] = b"event: ";

const ERROR_EVENT: &str = "event: error\ndata: ";

fn is_half_an_error_event(body: &[u8]) -> bool {
    let begin = ERROR_EVENT.as_bytes();
    begin.starts_with(body) || body.starts_with(begin) && !body.ends_with(b"\n\n")
}

fn is_error_event(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let data = text.strip_prefix(ERROR_EVENT).and_then(|rest| rest.strip_suffix("\n\n"));
    let json = data.and_then(|data| serde_json::from_str::<Value>(data).ok());
    json.is_some_and(|json| json["error"]["message"].is_string())
}

#[cfg(test)]
mod tests;
