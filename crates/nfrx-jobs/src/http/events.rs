//! The events of a job, for its client (jobs contract §5).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use nfrx_spi::{Body, BoxFuture, RequestContext};

use super::looking::Looking;
use super::{Problem, owner};
use crate::answer::events;
use crate::job::{ChannelView, Job, JobView, Shown, Side};
use crate::service::Jobs;

/// Between two signs of life, also for workers' streams.
pub(super) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// The sign.
pub(super) const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// `GET /api/jobs/{job_id}/events`.
///
/// The first event is the job as it is now, whatever `Last-Event-ID` says: a version holds
/// all that is left of those before it (decision 31).
pub(super) async fn watch(
    jobs: Arc<Jobs>,
    _: Request<Body>,
    context: RequestContext,
) -> Result<Response<Body>, Problem> {
    let id = context.params.get("job_id");
    let (looking, job) = Looking::begin(&jobs, id, owner(&context).as_deref()).await?;
    let mut stream = EventStream {
        keep_alive: jobs.clock.sleep(KEEP_ALIVE_EVERY),
        ready: VecDeque::new(),
        announced: HashSet::new(),
        closes: None,
        revision: 0,
        looking,
        jobs,
    };
    stream.begin(&job);
    let all = stream::unfold(stream, |mut stream| async { Some((stream.next().await?, stream)) });
    Ok(events(all))
}

/// A watcher's stream.
struct EventStream {
    jobs: Arc<Jobs>,
    looking: Looking,
    ready: VecDeque<Bytes>,
    /// Channels that were told.
    announced: HashSet<String>,
    keep_alive: BoxFuture<'static, ()>,
    /// Set once the job has ended: when the stream does.
    closes: Option<BoxFuture<'static, ()>>,
    revision: u64,
}

impl EventStream {
    /// The job as it is, then the channels that wait for this client (KD-96).
    fn begin(&mut self, job: &Job) {
        self.status(job);
        for side in [Side::Payload, Side::Result] {
            for (key, channel) in job.channels(side) {
                self.announced.insert(channel.id.clone());
                if self.jobs.transfers.is_untaken(&channel.id, side == Side::Payload) {
                    self.channel(side, key, job);
                }
            }
        }
    }

    /// What is new in a version: its channels first, then the job.
    fn tell(&mut self, job: &Job) {
        for side in [Side::Payload, Side::Result] {
            for (key, channel) in job.channels(side) {
                if self.announced.insert(channel.id.clone()) {
                    self.channel(side, key, job);
                }
            }
        }
        self.status(job);
    }

    fn channel(&mut self, side: Side, key: &str, job: &Job) {
        if let Some(channel) = job.channels(side).get(key).filter(|channel| !channel.spooled) {
            let view = ChannelView::new(side, key, channel, None);
            let data = serde_json::to_string(&view).unwrap_or_default();
            self.ready.push_back(event(side.as_str(), channel.revision, &data));
        }
    }

    fn status(&mut self, job: &Job) {
        let view = JobView::new(job, Shown::Whole, |_| None);
        self.ready.push_back(event("status", job.revision, &view.to_json()));
        self.revision = job.revision;
        if job.status.is_terminal() && self.closes.is_none() {
            self.closes = self.jobs.options.close_delay.map(|delay| self.jobs.clock.sleep(delay));
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let closes = async {
                match &mut self.closes {
                    Some(closes) => closes.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                version = self.looking.next() => {
                    let version = version?;
                    // What came before the first look was told with it.
                    if version.job.revision > self.revision || version.told > 0 {
                        self.tell(&version.job);
                    }
                }
                () = closes => return None,
                () = &mut self.keep_alive => {
                    self.keep_alive = self.jobs.clock.sleep(KEEP_ALIVE_EVERY);
                    return Some(KEEP_ALIVE);
                }
                () = self.jobs.closing() => return None,
            }
        }
    }
}

fn event(name: &str, revision: u64, data: &str) -> Bytes {
    Bytes::from(format!("event: {name}\nid: {revision}\ndata: {data}\n\n"))
}
