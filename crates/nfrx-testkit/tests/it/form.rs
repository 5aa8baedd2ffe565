//! Uploads: forms as clients send them, whole or piece by piece.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use nfrx_testkit::relay::API_KEY;
use tokio::sync::mpsc;

pub(crate) const TRANSCRIPTIONS: &str = "/api/asr/v1/audio/transcriptions";
pub(crate) const CONVERT_FILE: &str = "/api/docling/v1/convert/file";
pub(crate) const CONVERT_SOURCE: &str = "/api/docling/v1/convert/source";

const BOUNDARY: &str = "----a-clients-boundary";

/// A field's part.
pub(crate) fn field(name: &str, value: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// The beginning of the file's part.
pub(crate) fn file_head() -> String {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\n"
    )
}

/// The file's part.
pub(crate) fn file(content: &str) -> String {
    file_head() + content + "\r\n"
}

/// The end of the form.
pub(crate) fn end() -> String {
    format!("--{BOUNDARY}--\r\n")
}

/// A whole form of these parts.
pub(crate) fn form(parts: &[String]) -> Bytes {
    (parts.concat() + &end()).into()
}

/// A transcription of a little audio with this model.
pub(crate) fn transcription(model: &str) -> Request<Bytes> {
    upload_to(TRANSCRIPTIONS, form(&[field("model", model), file("RIFF")]))
}

/// A request that uploads a form; others' headers can be set on it.
pub(crate) fn upload_to<B>(path: &str, body: B) -> Request<B> {
    let request = Request::post(path).header("host", "relay.test");
    let request = request.header("authorization", format!("Bearer {API_KEY}"));
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    request.header("content-type", kind).body(body).expect("a request")
}

/// A request with one more header.
pub(crate) fn with<B>(mut request: Request<B>, name: &'static str, value: &str) -> Request<B> {
    request.headers_mut().append(name, value.parse().expect("a value"));
    request
}

/// A body whose pieces a test sends one by one. Dropping the sender ends it.
pub(crate) fn dribble() -> (mpsc::Sender<Bytes>, Dribble) {
    let (sender, pieces) = mpsc::channel(1);
    (sender, Dribble(pieces))
}

pub(crate) struct Dribble(mpsc::Receiver<Bytes>);

impl http_body::Body for Dribble {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
