//! What clients ask: make, show, list, cancel (jobs contract §3).

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use nfrx_spi::{Body, RequestContext};
use serde_json::json as object;

use super::looking::Looking;
use super::{Problem, order, owner, query_as, query_text, required, whole};
use crate::answer::{Failure, json};
use crate::job::{Change, Job, JobView, Refused, Shown, Status};
use crate::service::Jobs;
use crate::store::{Filter, Step, StoreError};

/// Jobs of a part of the list, unless the client asks for fewer or more, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 500;
/// The longest a client may wait for a change.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// `POST /api/jobs`.
pub(super) async fn create(
    jobs: Arc<Jobs>,
    request: Request<Body>,
    context: RequestContext,
) -> Result<Response<Body>, Problem> {
    let headers = request.headers().clone();
    let body = whole(request).await?;
    // A job belongs to the key that made it, an administrator's to it as well.
    let made_by = context.caller.key.as_deref();
    let order = order::read(&required(&body)?, made_by.map(str::to_owned))?;
    let once = order::once(&headers, &body, made_by)?;
    let job = jobs.create(order, once).await?;
    // From what this request made, not from what became of it meanwhile (KD-110).
    Ok(json(StatusCode::OK, &object!({ "job_id": job.id, "status": Status::Queued.as_str() })))
}

/// `GET /api/jobs/{job_id}`; with `wait_seconds` not before the job has another revision than
/// `revision`, or the wait is over.
pub(super) async fn show(
    jobs: Arc<Jobs>,
    request: Request<Body>,
    context: RequestContext,
) -> Result<Response<Body>, Problem> {
    let id = context.params.get("job_id");
    let wait: Option<u64> = query_as(&request, "wait_seconds")?;
    let revision: Option<u64> = query_as(&request, "revision")?;
    let owner = owner(&context);
    let mut job = match wait {
        None => find(&jobs, id, owner.as_deref()).await?,
        Some(seconds) => {
            let span = Duration::from_secs(seconds).min(WAIT_MAX);
            changed(&jobs, id, owner.as_deref(), revision, span).await?
        }
    };
    // A client that asks is there (KD-98).
    jobs.presence.touch(id);
    let position =
        if job.status == Status::Queued { jobs.store.position(job.id.clone()).await? } else { None };
    if position.is_none() && job.status == Status::Queued {
        // It left the queue between the two looks, or waits for its time.
        job = find(&jobs, id, owner.as_deref()).await?;
    }
    let mut view = JobView::new(&job, Shown::Whole, |channel| jobs.transfers.state(channel));
    view.queue_position = position;
    Ok(json(StatusCode::OK, &view))
}

/// A job, if it is this caller's to see.
pub(super) async fn find(jobs: &Jobs, id: &str, owner: Option<&str>) -> Result<Arc<Job>, Failure> {
    let job = jobs.store.get(id.to_owned()).await?;
    let job = job.filter(|job| may_see(job, owner)).ok_or(Refused::NotFound)?;
    Ok(Arc::new(job))
}

/// Whether a job is this caller's: jobs without an owner are everybody's.
fn may_see(job: &Job, owner: Option<&str>) -> bool {
    owner.is_none() || job.order.owner.is_none() || job.order.owner.as_deref() == owner
}

/// The job once it is another than the caller knows.
async fn changed(
    jobs: &Arc<Jobs>,
    id: &str,
    owner: Option<&str>,
    revision: Option<u64>,
    span: Duration,
) -> Result<Arc<Job>, Failure> {
    let (mut looking, mut job) = Looking::begin(jobs, id, owner).await?;
    let known = revision.unwrap_or(job.revision);
    let end = jobs.clock.sleep(span);
    tokio::pin!(end);
    while job.revision <= known && !job.status.is_terminal() {
        tokio::select! {
            version = looking.next() => match version {
                Some(version) => job = version.job,
                None => break,
            },
            () = &mut end => break,
            () = jobs.closing() => break,
        }
    }
    Ok(job)
}

/// `POST /api/jobs/{job_id}/cancel`, and the same of an operator, whom every job is shown.
pub(super) async fn cancel(
    jobs: Arc<Jobs>,
    _: Request<Body>,
    context: RequestContext,
) -> Result<Response<Body>, Problem> {
    let id = context.params.get("job_id").to_owned();
    let step = Step { id, change: Change::Cancel, worker: None, owner: owner(&context), now: jobs.now() };
    let job = jobs.change(step).await?;
    Ok(json(StatusCode::OK, &object!({ "status": job.status.as_str() })))
}

/// `GET /api/jobs`.
pub(super) async fn list(
    jobs: Arc<Jobs>,
    request: Request<Body>,
    context: RequestContext,
) -> Result<Response<Body>, Problem> {
    let status = query_text(&request, "status");
    let status = status.map(|text| Status::parse(&text).ok_or(Failure::Invalid)).transpose()?;
    let limit: Option<usize> = query_as(&request, "limit")?;
    let filter = Filter {
        status,
        kind: query_text(&request, "type"),
        tag: query_text(&request, "tag"),
        worker_id: query_text(&request, "worker_id"),
        owner: owner(&context),
        created_from: query_as(&request, "created_from")?,
        created_to: query_as(&request, "created_to")?,
        before: query_as(&request, "cursor")?,
        limit: limit.unwrap_or(PAGE).clamp(1, PAGE_MAX),
    };
    let page = jobs.store.list(filter).await.map_err(|error: StoreError| Failure::from(error))?;
    let view = |job: &Job| JobView::new(job, Shown::Whole, |channel| jobs.transfers.state(channel));
    let views: Vec<_> = page.jobs.iter().map(view).collect();
    let next = page.next.map(|place| place.to_string());
    Ok(json(StatusCode::OK, &Listed { jobs: views, next_cursor: next }))
}

#[derive(serde::Serialize)]
struct Listed {
    jobs: Vec<JobView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}
