//! Workers that look for jobs: claim and stream (jobs contract §4.1, §4.2).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use nfrx_spi::{Body, BodyError, BoxFuture, RequestContext};
use serde::Serialize;

use super::events::{KEEP_ALIVE, KEEP_ALIVE_EVERY};
use super::{Problem, optional, order, query, query_as, query_text, whole};
use crate::answer::{Failure, events};
use crate::job::Job;
use crate::json::{Fields, Json};
use crate::metrics::Bound;
use crate::service::{Hand, Jobs};
use crate::store::Seeker;
use crate::time::Millis;
use crate::waiting::Place;
use crate::workers::OpenStream;

/// The longest a claim waits; longer wishes are cut (KD-93, KD-116).
const WAIT_MAX: Duration = Duration::from_secs(300);
/// The most types that a worker may name.
const KINDS_MAX: usize = 256;

/// A claimed job, as its worker gets it: keys sorted (jobs contract §4.1).
#[derive(Serialize)]
struct Claimed<'a> {
    attempt: u32,
    claim_token: &'a str,
    claimed_worker_group: &'a str,
    claimed_worker_id: &'a str,
    job_id: &'a str,
    lease_seconds: u64,
    metadata: Option<&'a Json>,
    r#type: &'a str,
    worker_group: &'a str,
    worker_id: &'a str,
}

/// The claimed job in one line; empty for one that is not claimed.
fn line(job: &Job) -> String {
    let Some(claim) = &job.claim else { return String::new() };
    let claimed = Claimed {
        attempt: job.attempt,
        claim_token: &claim.token,
        claimed_worker_group: &claim.worker_group,
        claimed_worker_id: &claim.worker_id,
        job_id: &job.id,
        lease_seconds: claim.lease.0 / 1000,
        metadata: job.order.metadata.as_ref(),
        r#type: &job.order.kind,
        worker_group: &job.order.worker_group,
        worker_id: &job.order.worker_id,
    };
    serde_json::to_string(&claimed).unwrap_or_default()
}

/// The lease that a worker gets who asks for so many seconds.
pub(super) fn lease(jobs: &Jobs, seconds: Option<u64>) -> Millis {
    let asked = seconds.map(|seconds| Millis(seconds.saturating_mul(1000)));
    asked.unwrap_or(jobs.options.lease).min(jobs.options.lease_max)
}

fn seeker(jobs: &Jobs, fields: &Fields) -> Result<Seeker, Failure> {
    let seeker = Seeker {
        kinds: fields.texts("types")?,
        worker_id: fields.trimmed("worker_id")?,
        worker_group: fields.trimmed("worker_group")?,
        labels: order::texts(fields, "labels")?,
        lease: lease(jobs, fields.positive("lease_seconds")?),
    };
    if seeker.kinds.len() > KINDS_MAX { Err(Failure::Invalid) } else { Ok(seeker) }
}

/// `POST /api/jobs/claim`.
pub(super) async fn claim(
    jobs: Arc<Jobs>,
    request: Request<Body>,
    _: RequestContext,
) -> Result<Response<Body>, Problem> {
    // Read to its end before the wait: only then a client that leaves is noticed (KD-86).
    let fields = optional(&whole(request).await?)?;
    let seeker = Arc::new(seeker(&jobs, &fields)?);
    let wait = fields.integer("max_wait_seconds").map_err(Failure::from)?.unwrap_or_default().max(0);
    let wait = Duration::from_secs(wait.cast_unsigned()).min(WAIT_MAX);
    jobs.workers.seen(&seeker, jobs.now());
    let job = look(&jobs, &seeker, wait).await?;
    let Some(job) = job else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    jobs.workers.claimed(&seeker, "poll", &job.id, jobs.now());
    let text = Bytes::from(line(&job) + "\n");
    let mut response = Response::new(Body::stream(Delivery { text: Some(text), job, jobs }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A job at once, or as soon as one comes within the wait.
async fn look(jobs: &Arc<Jobs>, seeker: &Arc<Seeker>, wait: Duration) -> Result<Option<Arc<Job>>, Failure> {
    if wait.is_zero() {
        return if jobs.state.is_draining() { Ok(None) } else { jobs.claim(seeker).await };
    }
    let Some(place) = jobs.waiting.join(Arc::clone(seeker), jobs.options.waiting_max) else {
        jobs.metrics.refuse(Bound::Waiting);
        return Err(Failure::Full("too_many_waiting"));
    };
    let end = jobs.clock.sleep(wait);
    let draining = jobs.state.draining();
    tokio::pin!(end, draining);
    loop {
        // While the server drains there is nothing new (KD-92).
        if jobs.state.is_draining() {
            return Ok(None);
        }
        let job = jobs.claim(seeker).await?;
        place.found(job.as_deref());
        if job.is_some() {
            return Ok(job);
        }
        tokio::select! {
            () = place.woken() => {}
            () = &mut end => return jobs.claim(seeker).await,
            () = &mut draining => return Ok(None),
        }
    }
}

/// The answer of a claim. A worker that is gone before it was written never had the job
/// (KD-85).
struct Delivery {
    text: Option<Bytes>,
    job: Arc<Job>,
    jobs: Arc<Jobs>,
}

impl http_body::Body for Delivery {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.as_ref().map_or(0, |text| text.len() as u64))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.text.is_some() {
            self.jobs.return_later(Arc::clone(&self.job));
        }
    }
}

/// `GET /api/jobs/stream`.
pub(super) async fn stream(
    jobs: Arc<Jobs>,
    request: Request<Body>,
    _: RequestContext,
) -> Result<Response<Body>, Problem> {
    let list = |name: &str| {
        let values = query(&request, name);
        let parts = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let seeker = Seeker {
        kinds: list("types"),
        labels: list("labels"),
        worker_id: query_text(&request, "worker_id").unwrap_or_default(),
        worker_group: query_text(&request, "worker_group").unwrap_or_default(),
        lease: lease(&jobs, query_as(&request, "lease_seconds")?),
    };
    let inflight_max: Option<usize> = query_as(&request, "max_inflight")?;
    if seeker.kinds.len() > KINDS_MAX || inflight_max == Some(0) {
        return Err(Failure::Invalid.into());
    }
    let seeker = Arc::new(seeker);
    let place = jobs.waiting.join(Arc::clone(&seeker), jobs.options.waiting_max);
    let Some(place) = place else {
        jobs.metrics.refuse(Bound::Waiting);
        return Err(Failure::Full("too_many_waiting").into());
    };
    let stream = JobStream {
        open: jobs.workers.stream(&seeker, jobs.now()),
        keep_alive: jobs.clock.sleep(KEEP_ALIVE_EVERY),
        // At once, so that nobody takes the stream for dead (KD-95).
        ready: VecDeque::from([KEEP_ALIVE]),
        hand: Arc::default(),
        look: true,
        inflight_max: inflight_max.unwrap_or(usize::MAX),
        seeker,
        place,
        jobs,
    };
    let all = stream::unfold(stream, |mut stream| async { Some((stream.next().await?, stream)) });
    Ok(events(all))
}

/// A worker's stream.
struct JobStream {
    jobs: Arc<Jobs>,
    seeker: Arc<Seeker>,
    place: Place,
    hand: Arc<Hand>,
    inflight_max: usize,
    ready: VecDeque<Bytes>,
    /// Whether there may be a job.
    look: bool,
    keep_alive: BoxFuture<'static, ()>,
    open: OpenStream,
}

impl JobStream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.jobs.state.is_draining() {
                return None;
            }
            if self.look && self.hand.len() < self.inflight_max {
                self.claim().await?;
                continue;
            }
            let draining = self.jobs.state.draining();
            tokio::select! {
                () = self.place.woken(), if self.hand.len() < self.inflight_max => self.look = true,
                () = self.hand.freed.notified() => self.look = true,
                () = &mut self.keep_alive => {
                    self.keep_alive = self.jobs.clock.sleep(KEEP_ALIVE_EVERY);
                    self.open.seen(self.jobs.now());
                    return Some(KEEP_ALIVE);
                }
                () = draining => return None,
            }
        }
    }

    /// Takes a job, if there is one; `None` if the store is gone.
    async fn claim(&mut self) -> Option<()> {
        let job = self.jobs.claim(&self.seeker).await.ok()?;
        self.place.found(job.as_deref());
        self.look = job.is_some();
        if let Some(job) = job {
            self.jobs.workers.claimed(&self.seeker, "stream", &job.id, self.jobs.now());
            self.jobs.hand(&self.hand, &job);
            self.place.step_back();
            self.ready.push_back(Bytes::from(format!("event: job\ndata: {}\n\n", line(&job))));
        }
        Some(())
    }
}

impl Drop for JobStream {
    fn drop(&mut self) {
        self.jobs.drop_hand(&self.hand);
    }
}
