//! `nfrx jobs submit`: files in, results out. What was begun goes on where it stopped: a job is
//! made once for the same bytes and the same wishes, its payload is stored with it, and its
//! result stays with the server until it is fetched.

mod manifest;
mod upload;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::header::{HeaderName, HeaderValue, RANGE};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nfrx_spi::Body;
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use crate::api::{Api, ApiError, plain, segment};
use crate::follow::{failure, until_end};
use manifest::{Entry, MANIFEST, Manifest};
use upload::Input;

/// The key of a job's only payload, and of its only result.
const PAYLOAD: &str = "payload";
const RESULT: &str = "result";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Tries of a download or upload that breaks off; one that brought something on does not count.
const TRIES: u32 = 5;
const BETWEEN: Duration = Duration::from_secs(1);

/// What is to be done, with which files.
#[derive(Debug, Clone)]
pub struct SubmitPlan {
    /// The inputs; none, or `-`, for standard input.
    pub files: Vec<PathBuf>,
    /// Where results go: a folder, or a file for a single input; standard output if not set.
    pub output: Option<PathBuf>,
    /// What is put behind an input's name for its result's.
    pub suffix: String,
    /// The most jobs at once.
    pub concurrency: usize,
    /// The members of the order besides `keep` and `payload_keys`.
    pub order: Map<String, Value>,
}

/// Submits, waits and fetches. Fails if a job did; the others are done all the same.
pub async fn submit(api: &Api, plan: SubmitPlan) -> anyhow::Result<()> {
    let is_one = plan.files.len() <= 1;
    if !is_one && plan.output.is_none() {
        bail!("several files need a folder for their results: name it with --output");
    }
    let folder = plan.output.clone().filter(|path| !is_one || path.is_dir());
    if let Some(folder) = &folder {
        tokio::fs::create_dir_all(folder)
            .await
            .with_context(|| format!("can't make {}", folder.display()))?;
    }
    let manifest = match &folder {
        Some(folder) => Some(Manifest::open(&folder.join(MANIFEST))?),
        None => None,
    };
    let shared = Arc::new(Shared {
        api: api.clone(),
        manifest: manifest.map(Mutex::new),
        bars: MultiProgress::new(),
        folder,
        plan,
    });
    let files = match shared.plan.files.as_slice() {
        [] => vec![PathBuf::from("-")],
        files => files.to_vec(),
    };
    let slots = Arc::new(Semaphore::new(shared.plan.concurrency.max(1)));
    let mut tasks = JoinSet::new();
    for file in files {
        let (shared, slots) = (Arc::clone(&shared), Arc::clone(&slots));
        tasks.spawn(async move {
            // Never closed.
            let _slot = slots.acquire().await;
            let done = shared.one(&file).await;
            (file, done)
        });
    }
    let (mut failed, mut first) = (0, None);
    while let Some(done) = tasks.join_next().await {
        let (file, done) = done.context("a task broke")?;
        if let Err(error) = done {
            failed += 1;
            if !is_one {
                eprintln!("{}: {error:#}", file.display());
            }
            first.get_or_insert(error);
        }
    }
    match first {
        None => Ok(()),
        Some(error) if is_one => Err(error),
        Some(_) => bail!("{failed} failed; the same command tries them again and keeps what is done"),
    }
}

struct Shared {
    api: Api,
    plan: SubmitPlan,
    /// Where results go, if that is a folder.
    folder: Option<PathBuf>,
    manifest: Option<Mutex<Manifest>>,
    bars: MultiProgress,
}

impl Shared {
    /// One input from its bytes to its result.
    async fn one(&self, file: &Path) -> anyhow::Result<()> {
        let input = Input::read(file).await.with_context(|| format!("can't read {}", file.display()))?;
        let target = self.target(file);
        let key = input.key(&self.plan.order);
        if let (Some(manifest), Some(target)) = (&self.manifest, &target)
            && manifest.lock().await.has_result(&key, target)
        {
            return Ok(());
        }
        let bar = self.bar(file);
        let done = self.job(&input, &key, target.as_deref(), &bar).await;
        bar.finish_and_clear();
        let (job, outcome) = done?;
        if let Some(manifest) = &self.manifest {
            let entry = Entry {
                file: file.display().to_string(),
                key,
                job_id: job,
                status: if outcome.is_ok() { "completed" } else { "failed" }.to_owned(),
                result: target.filter(|_| outcome.is_ok()),
                error: outcome.as_ref().err().cloned(),
            };
            manifest.lock().await.add(entry)?;
        }
        outcome.map_err(|why| anyhow::anyhow!("{why}"))
    }

    /// Makes the job, or finds the one that was made; gives its id and how it went.
    async fn job(
        &self,
        input: &Input,
        key: &str,
        target: Option<&Path>,
        bar: &ProgressBar,
    ) -> anyhow::Result<(String, Result<(), String>)> {
        let mut order = self.plan.order.clone();
        order.insert("keep".to_owned(), true.into());
        order.insert("payload_keys".to_owned(), serde_json::json!([PAYLOAD]));
        // A job that failed, or that nobody remembers, is made anew.
        for attempt in 0.. {
            let once = HeaderValue::try_from(format!("{key}-{attempt}")).context("a key")?;
            let made = self.make(&order, once).await.context("the job can't be made")?;
            let id =
                made["job_id"].as_str().context("the server gives no id: does it serve jobs?")?.to_owned();
            let job = self.api.job(&id, None).await?;
            let is_old_failure = failure_of_before(&job) && attempt < 100;
            if is_old_failure {
                continue;
            }
            if job["status"] == "queued" && job["stored_payloads"].get(PAYLOAD).is_none() {
                bar.set_message("sends");
                self.store(input, &id).await.context("the payload can't be stored")?;
            }
            let job = until_end(&self.api, &id, |job| tell(bar, job)).await?;
            if let Some(why) = failure(&job) {
                return Ok((id, Err(why)));
            }
            bar.set_message("fetches");
            self.fetch(&job, target).await.context("the result can't be fetched")?;
            return Ok((id, Ok(())));
        }
        bail!("it failed a hundred times")
    }

    async fn make(&self, order: &Map<String, Value>, once: HeaderValue) -> Result<Value, ApiError> {
        let body = Body::from(Value::Object(order.clone()).to_string());
        let kind = (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.api.send(Method::POST, "/api/jobs", &[kind, (IDEMPOTENCY_KEY, once)], body).await?;
        let text = answer.into_body().collect().await.map_err(|_| ApiError::Answer)?.to_bytes();
        serde_json::from_slice(&text).map_err(|_| ApiError::Answer)
    }

    async fn store(&self, input: &Input, id: &str) -> anyhow::Result<()> {
        let path = format!("/api/jobs/{}/payload/{PAYLOAD}", segment(id));
        for attempt in 1.. {
            let stored = self.api.send(Method::PUT, &path, &[], input.body().await?).await;
            match stored {
                Ok(_) => return Ok(()),
                Err(error) if error.may_pass() && attempt < TRIES => {
                    tracing::warn!(%error, "sending again");
                    tokio::time::sleep(BETWEEN).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Fetches the result, going on where a broken connection left off.
    async fn fetch(&self, job: &Value, target: Option<&Path>) -> anyhow::Result<()> {
        let shown = &job["stored_results"][RESULT];
        let Some(bytes) = shown["bytes"].as_u64() else {
            bail!("its worker stored no `{RESULT}`, or it was kept for long enough");
        };
        let url = shown["url"].as_str().context("the server does not say where it is")?;
        let mut out = Out::open(target).await?;
        let (mut have, mut tries) = (0, 0);
        while have < bytes {
            let before = have;
            match self.part(url, have, bytes, &mut out).await {
                Ok(got) => have += got,
                Err(Broken { got, error }) => {
                    have += got;
                    tries = if have > before { 0 } else { tries + 1 };
                    if tries >= TRIES || !error.may_pass() {
                        return Err(error.into());
                    }
                    tracing::warn!(%error, "fetching on");
                    tokio::time::sleep(BETWEEN).await;
                }
            }
        }
        out.keep().await
    }

    async fn part(&self, url: &str, from: u64, whole: u64, out: &mut Out) -> Result<u64, Broken> {
        let range = HeaderValue::try_from(format!("bytes={from}-")).ok().filter(|_| from > 0);
        let headers: Vec<_> = range.map(|range| (RANGE, range)).into_iter().collect();
        let mut got = 0;
        let answer = self.api.send(Method::GET, url, &headers, Body::empty()).await;
        let answer = answer.map_err(|error| Broken { got, error })?;
        if from > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            return Err(Broken { got, error: ApiError::Answer });
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let data =
                frame.map_err(|_| Broken { got, error: ApiError::Answer })?.into_data().unwrap_or_default();
            if from + got + data.len() as u64 > whole || out.write(&data).await.is_err() {
                return Err(Broken { got, error: ApiError::Answer });
            }
            got += data.len() as u64;
        }
        if from + got < whole { Err(Broken { got, error: ApiError::Answer }) } else { Ok(got) }
    }

    /// Where the result of an input goes; `None` for standard output.
    fn target(&self, file: &Path) -> Option<PathBuf> {
        let Some(folder) = &self.folder else { return self.plan.output.clone() };
        let name = file.file_name().filter(|name| *name != "-").unwrap_or("stdin".as_ref());
        let mut name = name.to_os_string();
        name.push(&self.plan.suffix);
        Some(folder.join(name))
    }

    fn bar(&self, file: &Path) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(100));
        if let Ok(style) = ProgressStyle::with_template("{prefix:20!} {bar:30} {pos:>3} % {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(plain(&file.display().to_string()));
        bar
    }
}

/// A job under this key that ended badly, before this command was called.
fn failure_of_before(job: &Value) -> bool {
    matches!(job["status"].as_str(), Some("failed" | "canceled"))
        || job["status"] == "completed" && job["stored_results"].get(RESULT).is_none()
}

fn tell(bar: &ProgressBar, job: &Value) {
    let text = |name: &str| job["progress"][name].as_str().map(plain);
    let status = plain(job["status"].as_str().unwrap_or_default());
    bar.set_message(text("message").map_or(status.clone(), |message| format!("{status}, {message}")));
    if let Some(percent) = job["progress"]["percent"].as_f64() {
        bar.set_position(percent.clamp(0.0, 100.0) as u64);
    }
}

/// A download that broke off after so many bytes.
struct Broken {
    got: u64,
    error: ApiError,
}

/// Where a result is written: a file that gets its name when it is whole, or standard output.
enum Out {
    File { file: tokio::fs::File, part: PathBuf, target: PathBuf },
    Stdout,
}

impl Out {
    async fn open(target: Option<&Path>) -> anyhow::Result<Self> {
        let Some(target) = target else { return Ok(Self::Stdout) };
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(".nfrx-part");
        let part = target.with_file_name(name);
        let file = tokio::fs::File::create(&part)
            .await
            .with_context(|| format!("can't write {}", part.display()))?;
        Ok(Self::File { file, part, target: target.to_owned() })
    }

    async fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        match self {
            Self::File { file, .. } => file.write_all(data).await,
            Self::Stdout => std::io::stdout().write_all(data),
        }
    }

    async fn keep(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout => Ok(std::io::stdout().flush()?),
            Self::File { mut file, part, target } => {
                file.flush().await?;
                file.sync_all().await?;
                tokio::fs::rename(&part, &target)
                    .await
                    .with_context(|| format!("can't write {}", target.display()))
            }
        }
    }
}
