//! What clients store and fetch: payloads before a worker is there, results when it has gone
//! (decision 30).

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use nfrx_spi::{Body, RequestContext};

use super::{Problem, client, order, owner};
use crate::answer::{Failure, json};
use crate::job::{ObjectView, Refused, Side};
use crate::service::{Jobs, StoreTo};
use crate::spool::{Object, Part};

/// `PUT /api/jobs/{job_id}/payload/{key}`: the answer says that it is on the disk, with its
/// length and digest. Another under the same key takes its place.
pub(super) async fn put(
    jobs: Arc<Jobs>,
    request: Request<Body>,
    context: RequestContext,
) -> Result<Response<Body>, Problem> {
    let (id, key) = (context.params.get("job_id").to_owned(), context.params.get("key").to_owned());
    if !order::is_key(&key) {
        return Err(Failure::Invalid.into());
    }
    let owner = owner(&context);
    if client::find(&jobs, &id, owner.as_deref()).await?.status.is_terminal() {
        return Err(Refused::InvalidState.into());
    }
    let (parts, mut body) = request.into_parts();
    let mut incoming = jobs.spool.receive(body.size_hint().exact()).await.map_err(Failure::from)?;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::Body)?.into_data() else { continue };
        incoming.write(&data).await.map_err(Failure::from)?;
        // A client that sends is there (KD-98).
        jobs.presence.touch(&id);
    }
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let to = StoreTo { job: id, side: Side::Payload, key: key.clone(), channel: None, owner };
    let (job, object) = jobs.store(incoming, kind.map(str::to_owned), to).await?;
    // A worker that has asked before waits for it.
    if let Some(channel) = job.payloads.get(&key).filter(|channel| !channel.spooled) {
        jobs.feed(&channel.id, object.clone());
    }
    Ok(json(StatusCode::OK, &ObjectView::new(&job.id, Side::Payload, &key, &object)))
}

/// `GET /api/jobs/{job_id}/result/{key}`, also in part (RFC 9110 §14).
pub(super) async fn get(
    jobs: Arc<Jobs>,
    request: Request<Body>,
    context: RequestContext,
) -> Result<Response<Body>, Problem> {
    let job = client::find(&jobs, context.params.get("job_id"), owner(&context).as_deref()).await?;
    jobs.presence.touch(&job.id);
    let object = job.stored_results.get(context.params.get("key")).ok_or(Refused::NotFound)?;
    let part = wanted(request.headers(), object)?;
    let body = jobs.spool.read(object, part.unwrap_or(Part { first: 0, bytes: object.bytes })).await;
    let mut response = Response::new(body.map_err(Failure::from)?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, part.map_or(object.bytes, |part| part.bytes).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A client's browser must not run what a worker wrote.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(tag) = HeaderValue::try_from(tag(object)) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(kind) = object.content_type.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok()) {
        headers.insert("x-transfer-content-type", kind);
    }
    if let Some(Part { first, bytes }) = part {
        let range = format!("bytes {first}-{}/{}", first + bytes - 1, object.bytes);
        headers.extend(HeaderValue::try_from(range).map(|range| (header::CONTENT_RANGE, range)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The one part that is asked for. Several at once, or a part of what it was before, are
/// answered with the whole, as RFC 9110 allows.
fn wanted(headers: &HeaderMap, object: &Object) -> Result<Option<Part>, Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE).filter(|range| range.starts_with("bytes=")) else {
        return Ok(None);
    };
    if text(header::IF_RANGE).is_some_and(|known| known != tag(object)) {
        return Ok(None);
    }
    let Ok(ranges) = http_range_header::parse_range_header(range) else { return Ok(None) };
    let Ok(ranges) = ranges.validate(object.bytes) else { return Err(Failure::NoSuchPart(object.bytes)) };
    Ok(match ranges.as_slice() {
        [range] => Some(Part { first: *range.start(), bytes: range.end() - range.start() + 1 }),
        _ => None,
    })
}

fn tag(object: &Object) -> String {
    format!("\"{}\"", object.sha256)
}
