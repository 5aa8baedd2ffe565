//! The service behind the routes: every change goes through here, to the store first and
//! then to whoever has to know of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nfrx_spi::{BoxFuture, Clock, Moment, PluginContext, PluginStatus, ServerState, Spawner};
use tokio::sync::{Notify, oneshot, watch};

use crate::answer::Failure;
use crate::ids;
use crate::job::{Change, Job, Order, Outcome, Side, Status};
use crate::metrics::{Bound, JobsMetrics};
use crate::options::JobsOptions;
use crate::presence::Presence;
use crate::spool::{Incoming, Object, Old, Part, Removed, Spool, SpoolError};
use crate::store::{Changed, Created, Depth, NewJob, Once, Seeker, Step, Store, StoreError};
use crate::time::Millis;
use crate::transfer::{Traffic, Transfers};
use crate::waiting::Waiting;
use crate::watch::Watchers;
use crate::workers::Workers;

/// Jobs that the state shows.
const RECENT: usize = 12;
/// Leases get as long at least after a start, so that workers find the way back.
const GRACE: Millis = Millis(60_000);
/// Between two looks at what time does.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Between two counts of all jobs, while something changes.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// What all routes share.
pub(crate) struct Jobs {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: JobsOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state: Arc<dyn ServerState>,
    /// The start, by both clocks.
    began: (Millis, Moment),
    spawner: Arc<dyn Spawner>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) presence: Presence,
    pub(crate) transfers: Transfers,
    pub(crate) spool: Spool,
    pub(crate) metrics: Arc<JobsMetrics>,
    /// Streams of workers that have a job in hand, by its id.
    in_hand: Mutex<HashMap<String, Arc<Hand>>>,
    pub(crate) recent: Mutex<VecDeque<Arc<Job>>>,
    pub(crate) depths: Mutex<Vec<Depth>>,
    /// The places of recent jobs that wait, as they were counted last.
    pub(crate) positions: Mutex<HashMap<String, u64>>,
    pub(crate) watching: Arc<()>,
    /// True when streams have to end.
    closing: watch::Sender<bool>,
}

/// The jobs that a worker's stream has in hand.
#[derive(Default)]
pub(crate) struct Hand {
    jobs: Mutex<HashMap<String, String>>,
    /// Told when one of them ends.
    pub(crate) freed: Notify,
}

impl Hand {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Where an object belongs.
pub(crate) struct StoreTo {
    pub(crate) job: String,
    pub(crate) side: Side,
    pub(crate) key: String,
    /// What brought it, if a channel did.
    pub(crate) channel: Option<String>,
    /// The key that must own the job, where keys have names.
    pub(crate) owner: Option<String>,
}

impl Jobs {
    pub(crate) fn new(
        context: &PluginContext,
        options: JobsOptions,
        store: Arc<dyn Store>,
        spool: Spool,
        metrics: Arc<JobsMetrics>,
    ) -> Arc<Self> {
        let clock = Arc::clone(&context.clock);
        let transfers = Transfers::new(
            Arc::clone(&clock),
            Arc::clone(&metrics),
            options.channels_max,
            options.transfer_idle,
        );
        let jobs = Arc::new(Self {
            store,
            presence: Presence::new(Arc::clone(&clock), options.client_ttl),
            options,
            began: (Millis::of(clock.wall()), clock.now()),
            clock,
            state: Arc::clone(&context.state),
            spawner: Arc::clone(&context.spawner),
            watchers: Arc::default(),
            waiting: Arc::default(),
            workers: Arc::default(),
            transfers: transfers.clone(),
            spool,
            metrics,
            in_hand: Mutex::default(),
            recent: Mutex::default(),
            depths: Mutex::default(),
            positions: Mutex::default(),
            watching: Arc::default(),
            closing: watch::channel(false).0,
        });
        transfers.tell(Arc::new(Renewals(Arc::downgrade(&jobs))));
        jobs
    }

    /// Now, as it is kept: wall time that a set clock does not move.
    pub(crate) fn now(&self) -> Millis {
        let (wall, moment) = self.began;
        wall + self.clock.now().since(moment)
    }

    /// Makes a job.
    pub(crate) async fn create(&self, order: Order, once: Option<Once>) -> Result<Arc<Job>, Failure> {
        let new = NewJob { id: ids::uuid(), order, once, queue_max: self.options.queue_max, now: self.now() };
        let created = self.timed("create", self.store.create(new)).await?;
        match created {
            Created::New(job) => {
                let job = Arc::new(job);
                self.metrics.made();
                if !job.order.keep {
                    self.presence.start(&job.id);
                }
                self.tell(&job);
                Ok(job)
            }
            Created::Same(job) => Ok(Arc::new(job)),
            Created::Conflict => Err(Failure::Conflict("idempotency_conflict")),
            Created::Full => {
                self.metrics.refuse(Bound::Queue);
                Err(Failure::Full("queue_full"))
            }
        }
    }

    /// Gives the best job that suits, if there is one. Should the caller be gone by then, the
    /// job goes back to its place (KD-86).
    pub(crate) async fn claim(self: &Arc<Self>, seeker: &Arc<Seeker>) -> Result<Option<Arc<Job>>, Failure> {
        let (reply, answer) = oneshot::channel();
        let (jobs, seeker) = (Arc::clone(self), Arc::clone(seeker));
        self.spawner.spawn(
            "jobs: claim",
            Box::pin(async move {
                let claim = jobs.store.claim(seeker, ids::token(), jobs.now());
                let claimed = jobs.timed("claim", claim).await.map(|job| job.map(Arc::new));
                if let Ok(Some(job)) = &claimed {
                    jobs.metrics.claimed(job);
                    jobs.tell(job);
                }
                if let Err(Ok(Some(job))) = reply.send(claimed) {
                    jobs.give_back(&job).await;
                }
            }),
        );
        Ok(answer.await.map_err(|_| StoreError::Closed)??)
    }

    /// Puts a claimed job back whose worker was not told of it.
    async fn give_back(&self, job: &Job) {
        let Some(claim) = &job.claim else { return };
        let change = Change::Undelivered { token: claim.token.clone() };
        let step = Step { id: job.id.clone(), change, worker: None, owner: None, now: self.now() };
        // Refused where the worker has it after all.
        let _ = self.change(step).await;
    }

    /// The same from a place that can't wait.
    pub(crate) fn return_later(self: &Arc<Self>, job: Arc<Job>) {
        let jobs = Arc::clone(self);
        self.spawner.spawn("jobs: give back", Box::pin(async move { jobs.give_back(&job).await }));
    }

    /// Changes a job.
    pub(crate) async fn change(&self, step: Step) -> Result<Arc<Job>, Failure> {
        let changed = self.timed("change", self.store.change(step)).await??;
        Ok(self.settle(changed))
    }

    /// A change by the server itself, of which nobody waits for the outcome.
    async fn change_by_itself(&self, id: String, change: Change) {
        let step = Step { id, change, worker: None, owner: None, now: self.now() };
        if let Err(error) = self.change(step).await {
            tracing::debug!(%error, "nothing to change");
        }
    }

    /// Tells whoever has to know of a change that is committed.
    fn settle(&self, changed: Changed) -> Arc<Job> {
        self.metrics.changed(&changed);
        let Changed { job, before, outcome } = changed;
        let job = Arc::new(job);
        if job.status.is_terminal() {
            self.presence.stop(&job.id);
            // A canceled job's bytes are nobody's any more; a finished one's may still flow.
            self.transfers.close_of_job(&job.id, job.status == Status::Canceled);
        } else if before.is_held() && !job.status.is_held() {
            self.transfers.close_of_job(&job.id, true);
        }
        if !job.status.is_held() {
            self.free_hand(&job.id);
        }
        self.remove(self.spool.follow(&job));
        match outcome {
            // A cancel of an ended job is told again (jobs contract §3.3).
            Outcome::Changed | Outcome::Unchanged => self.tell(&job),
            Outcome::Renewed if job.is_ready() => self.waiting.wake(&job),
            Outcome::Renewed => {}
        }
        job
    }

    /// Removes files that nothing names any more; nobody waits for it.
    fn remove(&self, removed: Vec<Removed>) {
        if removed.is_empty() {
            return;
        }
        let removing = async {
            for file in removed {
                file.remove().await;
            }
        };
        self.spawner.spawn("jobs: remove", Box::pin(removing));
    }

    /// Ends an object and has its job's record name it. Once begun it goes on, whoever leaves:
    /// a file is either named or removed.
    pub(crate) async fn store(
        self: &Arc<Self>,
        incoming: Incoming,
        content_type: Option<String>,
        to: StoreTo,
    ) -> Result<(Arc<Job>, Object), Failure> {
        let (reply, answer) = oneshot::channel();
        let jobs = Arc::clone(self);
        let storing = async move {
            let stored = match incoming.finish(content_type, jobs.now()).await {
                Ok(object) => jobs.name(object, to).await,
                Err(error) => Err(SpoolError::from(error).into()),
            };
            // Nobody may be left to hear it.
            let _ = reply.send(stored);
        };
        self.spawner.spawn("jobs: store", Box::pin(storing));
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn name(&self, object: Object, to: StoreTo) -> Result<(Arc<Job>, Object), Failure> {
        let StoreTo { job, side, key, channel, owner } = to;
        let keys_max = self.options.keys_max;
        let change = Change::Store { side, key, object: object.clone(), channel, keys_max };
        match self.change(Step { id: job, change, worker: None, owner, now: self.now() }).await {
            Ok(job) => Ok((job, object)),
            Err(failure) => {
                self.spool.refuse(&object).remove().await;
                Err(failure)
            }
        }
    }

    /// Writes a stored payload into the channel that its worker reads.
    pub(crate) fn feed(self: &Arc<Self>, channel: &str, object: Object) {
        let Some(feed) = self.transfers.feed(channel) else { return };
        let jobs = Arc::clone(self);
        let feeding = async move {
            let whole = Part { first: 0, bytes: object.bytes };
            match jobs.spool.read(&object, whole).await {
                Ok(body) => feed.pass(&jobs.transfers, body, object.content_type.as_deref()).await,
                Err(error) => tracing::error!(%error, "a stored payload can't be read"),
            }
        };
        self.spawner.spawn("jobs: feed", Box::pin(feeding));
    }

    /// Stores what a worker writes into this channel.
    pub(crate) fn collect(self: &Arc<Self>, channel: &str, job: &str, key: &str) {
        let Some(mut sink) = self.transfers.collect(channel) else { return };
        let to = StoreTo {
            job: job.to_owned(),
            side: Side::Result,
            key: key.to_owned(),
            channel: Some(channel.to_owned()),
            owner: None,
        };
        let jobs = Arc::clone(self);
        let collecting = async move {
            let Some(content_type) = sink.begin().await else { return };
            let stored = async {
                let mut incoming = jobs.spool.receive(sink.length()).await?;
                while let Some(data) = sink.next().await {
                    incoming.write(&data).await?;
                }
                Ok::<_, Failure>(incoming)
            };
            let stored = match stored.await {
                Ok(incoming) if sink.is_whole() => jobs.store(incoming, content_type, to).await.map(drop),
                // The writer left: what came is dropped with it.
                Ok(_) => return,
                Err(failure) => Err(failure),
            };
            sink.end(&stored);
        };
        self.spawner.spawn("jobs: collect", Box::pin(collecting));
    }

    fn tell(&self, job: &Arc<Job>) {
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.retain(|known| known.id != job.id);
            recent.push_front(Arc::clone(job));
            recent.truncate(RECENT);
        }
        self.watchers.tell(job);
        if job.is_ready() {
            self.waiting.wake(job);
        }
    }

    /// Puts a job into a stream's hand.
    pub(crate) fn hand(&self, hand: &Arc<Hand>, job: &Job) {
        let Some(claim) = &job.claim else { return };
        hand.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(job.id.clone(), claim.token.clone());
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(job.id.clone(), Arc::clone(hand));
    }

    fn free_hand(&self, id: &str) {
        let hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(hand) = hand {
            hand.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
            hand.freed.notify_one();
        }
    }

    /// A stream is gone: its jobs whose worker has not said a word go back (KD-85).
    pub(crate) fn drop_hand(self: &Arc<Self>, hand: &Hand) {
        let left = std::mem::take(&mut *hand.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        if left.is_empty() {
            return;
        }
        let jobs = Arc::clone(self);
        self.spawner.spawn(
            "jobs: a stream's end",
            Box::pin(async move {
                for (id, token) in left {
                    jobs.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    jobs.change_by_itself(id, Change::Undelivered { token }).await;
                }
            }),
        );
    }

    /// Completes when streams have to end.
    pub(crate) async fn closing(&self) {
        let mut closing = self.closing.subscribe();
        let _ = closing.wait_for(|closing| *closing).await;
    }

    async fn timed<T>(
        &self,
        step: &'static str,
        work: BoxFuture<'static, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = self.clock.now();
        let done = work.await;
        self.metrics.stored(step, self.clock.now().since(began));
        done
    }

    /// Starts what runs by itself.
    pub(crate) fn start(self: &Arc<Self>) {
        let jobs = Arc::clone(self);
        self.spawner.spawn("jobs: sweep", Box::pin(async move { jobs.run().await }));
    }

    async fn run(self: Arc<Self>) {
        match self.store.resume(GRACE, self.now()).await {
            Ok(live) => {
                for job in live.iter().filter(|job| !job.order.keep) {
                    self.presence.start(&job.id);
                }
            }
            Err(error) => tracing::error!(%error, "the job store can't be read"),
        }
        match self.store.with_objects().await {
            Ok(jobs) => {
                for lost in self.spool.adopt(&jobs).await {
                    self.change_by_itself(lost.job, Change::Outdate { file: lost.file }).await;
                }
            }
            Err(error) => tracing::error!(%error, "what is stored can't be compared with the job store"),
        }
        let mut counted: Option<Moment> = None;
        loop {
            self.sweep().await;
            let now = self.clock.now();
            if counted.is_none_or(|moment| now.since(moment) >= COUNT_EVERY) {
                counted = Some(now);
                self.count().await;
            }
            tokio::select! {
                () = self.clock.sleep(SWEEP_EVERY) => {}
                () = self.closing() => return,
            }
        }
    }

    async fn sweep(&self) {
        let now = self.now();
        self.transfers.sweep();
        self.workers.sweep(now);
        let has_workers =
            self.waiting.len() > 0 || self.workers.views(now).iter().any(|worker| worker.active);
        self.state.set_status(if has_workers { PluginStatus::Ready } else { PluginStatus::NotReady });
        for id in self.presence.take_due() {
            if self.watchers.is_watched(&id) || self.transfers.flows(&id) {
                self.presence.start(&id);
                continue;
            }
            tracing::warn!(job_id = %id, "canceled job due to client inactivity");
            self.change_by_itself(id, Change::ClientGone).await;
        }
        let old = Millis(now.0.saturating_sub(self.options.spool_ttl.0));
        for Old { job, file } in self.spool.older_than(old) {
            self.change_by_itself(job, Change::Outdate { file }).await;
        }
        loop {
            match self.store.sweep(self.options.retention, now).await {
                Ok(swept) => {
                    let more = !swept.changed.is_empty() || !swept.forgotten.is_empty();
                    for changed in swept.changed {
                        let lost = changed.before.is_held() && changed.outcome == Outcome::Changed;
                        if lost {
                            self.metrics.lease_expired();
                        }
                        self.settle(changed);
                    }
                    for id in swept.forgotten {
                        self.remove(self.spool.forget(&id));
                        self.watchers.forget(&id);
                        self.recent.lock().unwrap_or_else(PoisonError::into_inner).retain(|job| job.id != id);
                    }
                    if !more {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the job store can't be swept");
                    return;
                }
            }
        }
    }

    async fn count(&self) {
        if let Ok(depths) = self.store.depths().await {
            self.metrics.depths(&depths, self.now());
            *self.depths.lock().unwrap_or_else(PoisonError::into_inner) = depths;
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut positions = HashMap::new();
        for job in recent.iter().filter(|job| job.is_ready()) {
            if let Ok(Some(position)) = self.store.position(job.id.clone()).await {
                positions.insert(job.id.clone(), position);
            }
        }
        *self.positions.lock().unwrap_or_else(PoisonError::into_inner) = positions;
    }

    /// The end: streams end cleanly, running transfers get what time is left, and the store
    /// commits what it has. Jobs of a store in memory fail with a reason (decision 28).
    pub(crate) async fn stop(&self) {
        if !self.options.durable {
            let live: HashSet<_> = match self.store.resume(GRACE, self.now()).await {
                Ok(live) => live.into_iter().map(|job| job.id).collect(),
                Err(_) => HashSet::new(),
            };
            for id in live {
                self.change_by_itself(id, Change::Shutdown).await;
            }
        }
        self.closing.send_replace(true);
        self.transfers.quiet().await;
        self.store.close().await;
    }
}

/// Renews the lease of a job whose bytes flow.
struct Renewals(std::sync::Weak<Jobs>);

impl Traffic for Renewals {
    fn flowed(&self, job: &str) {
        let Some(jobs) = self.0.upgrade() else { return };
        jobs.presence.touch(job);
        let (id, own) = (job.to_owned(), Arc::clone(&jobs));
        jobs.spawner.spawn(
            "jobs: renew",
            Box::pin(async move {
                own.change_by_itself(id, Change::Renew { lease: None }).await;
            }),
        );
    }
}
