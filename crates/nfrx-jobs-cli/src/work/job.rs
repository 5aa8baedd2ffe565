//! One job: its payload into a program, what that writes back as the result.

use std::process::ExitStatus;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response};
use http_body_util::BodyExt as _;
use nfrx_spi::Body;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::WorkPlan;
use super::gate::Gate;
use super::lease::{self, Lost};
use super::program::{Program, Running, Stdin};
use super::telling::{self, NEWS_MAX};
use crate::api::{Api, ApiError, segment};
use crate::file_body::FileBody;

/// A report that does not arrive is sent again, as long as the lease holds.
const AGAIN: Duration = Duration::from_secs(1);
/// More of what a program said last is not told, in bytes.
const WORDS_MAX: usize = 4000;

/// A claimed job.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    pub(super) id: String,
    pub(super) kind: String,
    /// The right to speak of it.
    pub(super) token: String,
    /// As JSON.
    pub(super) metadata: Option<String>,
    pub(super) lease: Duration,
}

impl Claimed {
    /// The path of a call about it.
    pub(super) fn path(&self, call: &str) -> String {
        format!("/api/jobs/{}/{call}", segment(&self.id))
    }
}

/// Why a job was not done.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    /// The program can't be started, or its files fail.
    #[error("{0}")]
    Program(#[from] std::io::Error),
    /// It said that it failed.
    #[error("{status}{}{words}", if words.is_empty() { "" } else { ": " })]
    Exit { status: ExitStatus, words: String },
    /// The payload did not come, or the result did not go.
    #[error("the {what} could not be passed on: {error}")]
    Transfer { what: &'static str, error: ApiError },
}

impl NotDone {
    fn code(&self) -> &'static str {
        match self {
            Self::Program(_) => "program_error",
            Self::Exit { .. } => "exit_status",
            Self::Transfer { .. } => "transfer_error",
        }
    }
}

/// Does a job and says how it went. All that a lost one leaves is a line in the log; when the
/// gate halts, the job goes back to the queue.
pub(super) async fn run(api: &Api, plan: &WorkPlan, gate: &Gate, claimed: &Claimed) {
    info!(job_id = claimed.id, r#type = claimed.kind, "begins");
    let work = Work { api, plan, claimed };
    let lost = tokio::select! {
        biased;
        lost = lease::keep(api, claimed) => Some(lost),
        () = work.to_its_end() => None,
        () = gate.halted() => {
            info!(job_id = claimed.id, "goes back to the queue");
            // Its program has ended with the work.
            work.report(json!({ "state": "queued" })).await;
            None
        }
    };
    // Dropping the work has ended its program.
    match lost {
        None => {}
        Some(Lost::Canceled) => info!(job_id = claimed.id, "was canceled"),
        Some(lost) => warn!(job_id = claimed.id, reason = %lost, "is not ours any more"),
    }
}

struct Work<'a> {
    api: &'a Api,
    plan: &'a WorkPlan,
    claimed: &'a Claimed,
}

impl Work<'_> {
    async fn to_its_end(&self) {
        let id = &self.claimed.id;
        let said = match self.attempt().await {
            Ok(()) => {
                info!(job_id = id, "completed");
                json!({ "state": "completed" })
            }
            Err(error) => {
                warn!(job_id = id, %error, "failed");
                json!({ "state": "failed", "error": { "code": error.code(), "message": error.to_string() } })
            }
        };
        self.report(said).await;
    }

    /// Says how the job is until the server has heard it, or refuses it.
    async fn report(&self, mut said: Value) {
        said["claim_token"] = self.claimed.token.clone().into();
        loop {
            match self.api.json(Method::POST, &self.claimed.path("status"), Some(&said)).await {
                Ok(_) => return,
                Err(error) if error.may_pass() => {
                    warn!(%error, "the job's state was not heard, telling it again");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return warn!(%error, "the job's state was refused"),
            }
        }
    }

    async fn attempt(&self) -> Result<(), NotDone> {
        self.report(json!({ "state": "running" })).await;
        let failed = |error| NotDone::Transfer { what: "payload", error };
        let payload = match self.plan.has_input {
            true => Some(self.payload().await.map_err(failed)?),
            false => None,
        };
        let (news_end, news) = mpsc::channel(NEWS_MAX);
        let program = Program { command: &self.plan.command, claimed: self.claimed };
        let (running, stdin) = program.start(news_end)?;
        let mut running = running;
        let telling = telling::tell(self.api, self.claimed, news);
        let fed = async {
            match payload {
                Some(payload) => feed(payload, stdin).await,
                None => Ok(()),
            }
        };
        let (fed, ended, ()) = tokio::join!(fed, running.ended(), telling);
        let ended = ended?;
        if !ended.status.success() {
            return Err(NotDone::Exit { status: ended.status, words: cut(&ended.words) });
        }
        // A program that did all with half of its input was given too little.
        fed.map_err(failed)?;
        if self.plan.has_output {
            self.result(running).await?;
        }
        Ok(())
    }

    /// Asks for a channel, and gives its path.
    async fn channel(&self, side: &str, url: &str) -> Result<String, ApiError> {
        let asked = json!({ "claim_token": self.claimed.token });
        let opened = self.api.json(Method::POST, &self.claimed.path(side), Some(&asked)).await?;
        opened[url].as_str().map(str::to_owned).ok_or(ApiError::Answer)
    }

    async fn payload(&self) -> Result<Response<Body>, ApiError> {
        let url = self.channel("payload", "reader_url").await?;
        self.api.send(Method::GET, &url, &[], Body::empty()).await
    }

    async fn result(&self, running: Running) -> Result<(), NotDone> {
        let (file, bytes) = running.output().await?;
        let sending = async {
            let url = self.channel("result", "writer_url").await?;
            let kind = (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            self.api.send(Method::POST, &url, &[kind], FileBody::of(file, bytes)).await.map(drop)
        };
        sending.await.map_err(|error| NotDone::Transfer { what: "result", error })
    }
}

/// A payload's bytes into a program. One that has read enough lets the rest pass.
async fn feed(payload: Response<Body>, mut stdin: Stdin) -> Result<(), ApiError> {
    let mut body = payload.into_body();
    let mut reads = true;
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| ApiError::Answer)?.into_data().unwrap_or_default();
        reads = reads && stdin.write_all(&data).await.is_ok();
    }
    Ok(())
}

/// The end of a text.
fn cut(text: &str) -> String {
    let from = text.len().saturating_sub(WORDS_MAX);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text[from..].to_owned()
}
