//! What workers say of the jobs they have (jobs contract §4.3, §4.4).

use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode};
use nfrx_spi::{Body, RequestContext};
use serde::Serialize;
use serde_json::json as object;

use super::{Problem, TOKEN_HEADER, optional, order, required, seek, whole};
use crate::answer::{Failure, json};
use crate::job::{Change, Job, JobChannel, JobError, Refused, Side, Status};
use crate::json::{Fields, Json};
use crate::service::Jobs;
use crate::store::Step;

/// A call about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Open(Side),
    Report,
    Renew,
}

impl Call {
    pub(super) const ALL: [Self; 4] =
        [Self::Open(Side::Payload), Self::Open(Side::Result), Self::Report, Self::Renew];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Open(Side::Payload) => "/{job_id}/payload",
            Self::Open(Side::Result) => "/{job_id}/result",
            Self::Report => "/{job_id}/status",
            Self::Renew => "/{job_id}/lease",
        }
    }

    pub(super) fn summary(self) -> &'static str {
        match self {
            Self::Open(Side::Payload) => "Asks for a channel to read a payload from",
            Self::Open(Side::Result) => "Asks for a channel to write a result to",
            Self::Report => "Says how a job is",
            Self::Renew => "Renews the lease of a job",
        }
    }
}

/// `POST /api/jobs/{job_id}/payload`, `result`, `status` and `lease`.
///
/// The body is read first and the job changed in one step (KD-83); the order of the errors
/// stays as if the job were looked at before: 404, 409, 400.
pub(super) async fn call(
    jobs: Arc<Jobs>,
    call: Call,
    request: Request<Body>,
    context: RequestContext,
) -> Result<Response<Body>, Problem> {
    let id = context.params.get("job_id").to_owned();
    let headers = request.headers().clone();
    let body = whole(request).await?;
    let said = read(&jobs, call, &id, &headers, &body);
    let Said { token, change, answer } = match said {
        Ok(said) => said,
        Err(failure) => return Err(first_of(&jobs, id, failure).await.into()),
    };
    let step = Step { id, change, worker: Some(token), owner: None, now: jobs.now() };
    let replaced = match &answer {
        Answer::Channel(side, opened) => jobs
            .store
            .get(step.id.clone())
            .await?
            .and_then(|job| job.channels(*side).get(&opened.key).map(|channel| channel.id.clone())),
        _ => None,
    };
    match jobs.change(step).await {
        Ok(job) => {
            if let Some(replaced) = replaced {
                // Asked for again: the old one is of no use (KD-114).
                jobs.transfers.close(&replaced);
            }
            if let Answer::Channel(side, opened) = &answer {
                connect(&jobs, &job, *side, opened);
            }
            Ok(answer.response(&jobs, &job))
        }
        Err(failure) => {
            if let Answer::Channel(_, opened) = &answer {
                jobs.transfers.close(&opened.channel_id);
            }
            Err(failure.into())
        }
    }
}

/// Joins a channel with the spool: a stored payload is there at once, a result that is kept
/// needs nobody who reads it (decision 30).
fn connect(jobs: &Arc<Jobs>, job: &Job, side: Side, opened: &Opened) {
    if job.channels(side).get(&opened.key).is_none_or(|channel| !channel.spooled) {
        return;
    }
    match side {
        Side::Payload => {
            if let Some(object) = job.stored_payloads.get(&opened.key) {
                jobs.feed(&opened.channel_id, object.clone());
            }
        }
        Side::Result => jobs.collect(&opened.channel_id, &job.id, &opened.key),
    }
}

/// A bad body is told only of a job that could have been changed.
async fn first_of(jobs: &Jobs, id: String, failure: Failure) -> Failure {
    match jobs.store.get(id).await {
        Err(error) => error.into(),
        Ok(None) => Refused::NotFound.into(),
        Ok(Some(job)) if !job.status.is_held() => Refused::InvalidState.into(),
        Ok(Some(_)) => failure,
    }
}

/// What a worker said.
struct Said {
    token: Option<String>,
    change: Change,
    answer: Answer,
}

/// What it is told when that was done.
enum Answer {
    Channel(Side, Opened),
    Status(Status),
    Lease,
}

/// A channel, as its worker gets it: keys sorted.
#[derive(Serialize)]
struct Opened {
    channel_id: String,
    expires_at: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writer_url: Option<String>,
}

impl Answer {
    fn response(&self, jobs: &Jobs, job: &Job) -> Response<Body> {
        match self {
            Self::Channel(_, opened) => json(StatusCode::OK, opened),
            Self::Status(state) => json(StatusCode::OK, &object!({ "status": state.as_str() })),
            Self::Lease => {
                let left = job.lease_until().map(|until| until.since(jobs.now()).as_secs());
                let renewed = object!({
                    "canceled": job.status == Status::Canceled,
                    "lease_seconds": left,
                    "status": job.status.as_str(),
                });
                json(StatusCode::OK, &renewed)
            }
        }
    }
}

fn read(jobs: &Jobs, call: Call, id: &str, headers: &HeaderMap, body: &[u8]) -> Result<Said, Failure> {
    let fields = match call {
        Call::Report => required(body)?,
        Call::Open(_) | Call::Renew => optional(body)?,
    };
    let in_header = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let token = fields.text("claim_token")?.or(in_header);
    let (change, answer) = match call {
        Call::Open(side) => open(jobs, id, side, &fields)?,
        Call::Report => report(&fields)?,
        Call::Renew => {
            let seconds = fields.positive("lease_seconds")?;
            let lease = seconds.map(|seconds| seek::lease(jobs, Some(seconds)));
            (Change::Renew { lease }, Answer::Lease)
        }
    };
    Ok(Said { token, change, answer })
}

fn open(jobs: &Jobs, job: &str, side: Side, fields: &Fields) -> Result<(Change, Answer), Failure> {
    let key = fields.text("key")?.map(|key| key.trim().to_owned());
    let key = key.unwrap_or_else(|| side.as_str().to_owned());
    if !key.is_empty() && !order::is_key(&key) {
        return Err(Failure::Invalid);
    }
    let properties = fields.object("properties")?;
    let Some((id, expires_at)) = jobs.transfers.open(None, Some(job.to_owned())) else {
        return Err(Failure::Full("too_many_channels"));
    };
    let url = Some(format!("/api/transfer/{id}"));
    let (reader_url, writer_url) = match side {
        Side::Payload => (url, None),
        Side::Result => (None, url),
    };
    let opened = Opened {
        channel_id: id.clone(),
        expires_at: expires_at.to_string(),
        key: key.clone(),
        properties: properties.clone(),
        reader_url,
        writer_url,
    };
    let channel = JobChannel { id, expires_at, properties, spooled: false, revision: 0 };
    let change = Change::Open { side, key, channel, keys_max: jobs.options.keys_max };
    Ok((change, Answer::Channel(side, opened)))
}

fn report(fields: &Fields) -> Result<(Change, Answer), Failure> {
    let state = fields.trimmed("state")?;
    let progress = fields.object("progress")?;
    let error = match fields.fields("error")? {
        None => None,
        Some(error) => Some(JobError {
            code: error.text("code")?.unwrap_or_default(),
            message: error.text("message")?.unwrap_or_default(),
        }),
    };
    if state.is_empty() {
        return Err(Failure::Missing("missing_state"));
    }
    // Exactly the eight (KD-88).
    let state = Status::parse(&state).ok_or(Failure::Invalid)?;
    Ok((Change::Report { state, progress, error }, Answer::Status(state)))
}
