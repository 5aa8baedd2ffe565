//! The routes of `/api/jobs` (jobs contract §1).

mod client;
mod events;
mod kept;
mod looking;
mod order;
pub(crate) mod schemas;
mod seek;
mod worker;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use nfrx_spi::{Access, ApiError, Body, Dialect, HandlerResult, Operation, RequestContext, Router};

use crate::answer::Failure;
use crate::json::Fields;
use crate::service::Jobs;

/// The token of a claim, where a body has no place for it.
const TOKEN_HEADER: &str = "x-nfrx-claim-token";

/// Adds the routes below the router's prefix.
pub(crate) fn register(jobs: &Arc<Jobs>, router: &mut Router) {
    router.dialect(Dialect::Json).body_bytes_max(jobs.options.body_bytes_max);
    router.group(|client| {
        client.access(Access::Client);
        let own = Arc::clone(jobs);
        client
            .post("", move |request, context| reply(client::create(Arc::clone(&own), request, context)))
            .operation(schemas::create());
        let own = Arc::clone(jobs);
        client
            .get("", move |request, context| reply(client::list(Arc::clone(&own), request, context)))
            .while_draining()
            .operation(schemas::list());
        let own = Arc::clone(jobs);
        client
            .get("/{job_id}", move |request, context| reply(client::show(Arc::clone(&own), request, context)))
            .while_draining()
            .operation(schemas::show());
        // Not an id, though it stands where one would (jobs contract §1).
        client
            .get("/claim", |_: Request<Body>, _: RequestContext| {
                std::future::ready(Ok(Failure::Refused(crate::job::Refused::NotFound).response()))
            })
            .while_draining();
        let own = Arc::clone(jobs);
        client
            .get("/{job_id}/events", move |request, context| {
                reply(events::watch(Arc::clone(&own), request, context))
            })
            .while_draining()
            .operation(Operation { summary: "Follows a job", streams: true, ..Operation::default() });
        let own = Arc::clone(jobs);
        client
            .post("/{job_id}/cancel", move |request, context| {
                reply(client::cancel(Arc::clone(&own), request, context))
            })
            .while_draining()
            .operation(schemas::cancel("Gives a job up"));
    });
    router.group(|kept| {
        kept.access(Access::Client);
        let own = Arc::clone(jobs);
        kept.put("/{job_id}/payload/{key}", move |request, context| {
            reply(kept::put(Arc::clone(&own), request, context))
        })
        .body_bytes_max(u64::MAX)
        .to_the_end()
        .operation(schemas::store());
        let own = Arc::clone(jobs);
        kept.get("/{job_id}/result/{key}", move |request, context| {
            reply(kept::get(Arc::clone(&own), request, context))
        })
        .to_the_end()
        .operation(schemas::fetch());
    });
    router.group(|operator| {
        operator.access(Access::Admin);
        let own = Arc::clone(jobs);
        operator
            .post("/operator/{job_id}/cancel", move |request, context| {
                reply(client::cancel(Arc::clone(&own), request, context))
            })
            .while_draining()
            .operation(schemas::cancel("Gives a job up that is anybody's"));
    });
    router.group(|worker| {
        worker.access(Access::Worker);
        let own = Arc::clone(jobs);
        worker
            .post("/claim", move |request, context| reply(seek::claim(Arc::clone(&own), request, context)))
            .while_draining()
            .operation(schemas::claim());
        let own = Arc::clone(jobs);
        worker
            .get("/stream", move |request, context| reply(seek::stream(Arc::clone(&own), request, context)))
            .while_draining()
            .operation(schemas::stream());
        for call in worker::Call::ALL {
            let own = Arc::clone(jobs);
            worker
                .post(call.path(), move |request, context| {
                    reply(worker::call(Arc::clone(&own), call, request, context))
                })
                .while_draining()
                .operation(schemas::call(call));
        }
    });
}

/// Errors have the forms of the jobs contract, not those of the relay.
async fn reply(answer: impl Future<Output = Result<Response<Body>, Problem>>) -> HandlerResult {
    match answer.await {
        Ok(response) => Ok(response),
        Err(Problem::Jobs(failure)) => Ok(failure.response()),
        Err(Problem::Body) => Err(ApiError::BadRequest("the body did not arrive".to_owned())),
    }
}

/// What a handler fails with.
enum Problem {
    Jobs(Failure),
    /// The body broke off or hit a bound of the front door, which says which.
    Body,
}

impl<E: Into<Failure>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Jobs(error.into())
    }
}

/// The whole body, which is small.
async fn whole(request: Request<Body>) -> Result<Bytes, Problem> {
    let body = request.into_body().collect().await.map_err(|_| Problem::Body)?;
    Ok(body.to_bytes())
}

/// The members of a body, or that it is no good one; without a body none.
fn optional(body: &[u8]) -> Result<Fields, Failure> {
    Ok(Fields::read(body)?.unwrap_or_default())
}

/// The members of a body that has to be there.
fn required(body: &[u8]) -> Result<Fields, Failure> {
    Fields::read(body)?.ok_or(Failure::Invalid)
}

/// Whose jobs a caller may see: with a named key its own (decision 18).
fn owner(context: &RequestContext) -> Option<String> {
    let key = context.caller.key.as_deref().filter(|_| !context.caller.scopes.admin);
    key.map(str::to_owned)
}

/// The values of a parameter in a query, percent-decoded.
fn query(request: &Request<Body>, name: &str) -> Vec<String> {
    let pairs = request.uri().query().unwrap_or_default().split('&');
    let values = pairs.filter_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    values.map(|(_, value)| decode(value)).collect()
}

/// The first of them, trimmed; `None` for a blank one.
fn query_text(request: &Request<Body>, name: &str) -> Option<String> {
    let first = query(request, name).into_iter().next()?.trim().to_owned();
    Some(first).filter(|text| !text.is_empty())
}

/// The first of them as whatever it has to be.
fn query_as<T: std::str::FromStr>(request: &Request<Body>, name: &str) -> Result<Option<T>, Failure> {
    query_text(request, name).map(|text| text.parse().map_err(|_| Failure::Invalid)).transpose()
}
