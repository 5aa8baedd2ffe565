//! The steps, each inside a transaction of the engine.

use std::sync::Arc;

use nfrx_spi::BoxFuture;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use super::engine::Engine;
use super::query::{by_id, insert, job, update};
use super::{
    Changed, Created, Depth, Filter, NewJob, Page, Retention, Seeker, Step, Store, StoreError, Swept,
};
use crate::job::{Change, Job, Outcome, Proof, Refused, Status};
use crate::labels;
use crate::time::Millis;

/// Jobs that one sweep works off.
const SWEPT_MAX: i64 = 500;
/// Waiting jobs that a seeker's labels are compared with, per kind and target.
const LOOKED_AT_MAX: usize = 1000;
/// Places that are counted; who stands further back is not told where.
const POSITION_MAX: i64 = 1000;

impl Store for Engine {
    fn create(&self, new: NewJob) -> BoxFuture<'static, Result<Created, StoreError>> {
        Box::pin(self.write(move |connection| create(connection, new)))
    }

    fn claim(
        &self,
        seeker: Arc<Seeker>,
        token: String,
        now: Millis,
    ) -> BoxFuture<'static, Result<Option<Job>, StoreError>> {
        Box::pin(self.write(move |connection| claim(connection, &seeker, token, now)))
    }

    fn change(&self, step: Step) -> BoxFuture<'static, Result<Result<Changed, Refused>, StoreError>> {
        Box::pin(self.write(move |connection| change(connection, step)))
    }

    fn get(&self, id: String) -> BoxFuture<'static, Result<Option<Job>, StoreError>> {
        Box::pin(self.read(move |connection| by_id(connection, &id)))
    }

    fn position(&self, id: String) -> BoxFuture<'static, Result<Option<u64>, StoreError>> {
        Box::pin(self.read(move |connection| position(connection, &id)))
    }

    fn list(&self, filter: Filter) -> BoxFuture<'static, Result<Page, StoreError>> {
        Box::pin(self.read(move |connection| list(connection, &filter)))
    }

    fn depths(&self) -> BoxFuture<'static, Result<Vec<Depth>, StoreError>> {
        Box::pin(self.read(depths))
    }

    fn sweep(&self, retention: Retention, now: Millis) -> BoxFuture<'static, Result<Swept, StoreError>> {
        Box::pin(self.write(move |connection| sweep(connection, retention, now)))
    }

    fn resume(&self, grace: Millis, now: Millis) -> BoxFuture<'static, Result<Vec<Job>, StoreError>> {
        Box::pin(self.write(move |connection| resume(connection, grace, now)))
    }

    fn with_objects(&self) -> BoxFuture<'static, Result<Vec<Job>, StoreError>> {
        Box::pin(self.read(with_objects))
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let engine = self.clone();
        Box::pin(async move { engine.shut().await })
    }
}

fn create(connection: &Connection, new: NewJob) -> Result<Created, StoreError> {
    if let Some(once) = &new.once {
        let mut known = connection.prepare_cached("SELECT digest, job_id FROM once WHERE key = ?1")?;
        let found: Option<(String, String)> =
            known.query_row([&once.key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((digest, _)) if digest != once.digest => return Ok(Created::Conflict),
            Some((_, id)) => {
                if let Some(job) = by_id(connection, &id)? {
                    return Ok(Created::Same(job));
                }
            }
            None => {}
        }
    }
    if waiting_reaches(connection, new.queue_max)? {
        return Ok(Created::Full);
    }
    let job = Job::new(new.id, new.order, new.now);
    insert(connection, &job)?;
    if let Some(once) = new.once {
        connection
            .prepare_cached("INSERT OR REPLACE INTO once (key, digest, job_id) VALUES (?1, ?2, ?3)")?
            .execute([&once.key, &once.digest, &job.id])?;
    }
    Ok(Created::New(job))
}

/// Whether so many jobs wait. Looks at one row of the index, not at all: places are numbered.
fn waiting_reaches(connection: &Connection, max: u64) -> Result<bool, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM jobs WHERE status = 'queued' LIMIT 1 OFFSET ?1")?;
    // Rows are only walked when there can be so many.
    let newest: i64 = connection
        .prepare_cached("SELECT coalesce((SELECT max(seq) FROM jobs) - (SELECT min(seq) FROM jobs) + 1, 0)")?
        .query_row([], |row| row.get(0))?;
    if newest < max.cast_signed() {
        return Ok(false);
    }
    Ok(statement.exists([max.saturating_sub(1).cast_signed()])?)
}

/// The best of the best: one look per kind and target at the index's first row.
fn claim(
    connection: &Connection,
    seeker: &Seeker,
    token: String,
    now: Millis,
) -> Result<Option<Job>, StoreError> {
    let mut best: Option<(i64, i64, Job)> = None;
    let mut targets = vec![("", "")];
    if !seeker.worker_id.is_empty() {
        targets.push((seeker.worker_id.as_str(), ""));
    }
    if !seeker.worker_group.is_empty() {
        targets.push(("", seeker.worker_group.as_str()));
    }
    if targets.len() == 3 {
        targets.push((seeker.worker_id.as_str(), seeker.worker_group.as_str()));
    }
    let kinds: Vec<Option<&str>> = match seeker.kinds.as_slice() {
        [] => vec![None],
        kinds => kinds.iter().map(|kind| Some(kind.as_str())).collect(),
    };
    for kind in kinds {
        for (worker_id, worker_group) in &targets {
            let found = first(connection, seeker, kind, worker_id, worker_group)?;
            let Some((priority, seq, job)) = found else { continue };
            let better = best.as_ref().is_none_or(|(p, s, _)| (-priority, seq) < (-p, *s));
            if better {
                best = Some((priority, seq, job));
            }
        }
    }
    let Some((_, _, mut job)) = best else { return Ok(None) };
    let revision = job.revision;
    let taken = Change::Claim {
        worker_id: seeker.worker_id.clone(),
        worker_group: seeker.worker_group.clone(),
        token,
        lease: seeker.lease,
    };
    let is_taken = job.apply(taken, Proof::None, now).is_ok() && update(connection, &job, revision)?;
    Ok(is_taken.then_some(job))
}

/// The first job of a kind for a target that the seeker's labels meet.
fn first(
    connection: &Connection,
    seeker: &Seeker,
    kind: Option<&str>,
    worker_id: &str,
    worker_group: &str,
) -> Result<Option<(i64, i64, Job)>, StoreError> {
    let mut statement = connection.prepare_cached(match kind {
        Some(_) => {
            "SELECT priority, seq, record FROM jobs INDEXED BY jobs_ready_kind
             WHERE ready = 1 AND worker_id = ?1 AND worker_group = ?2 AND kind = ?3
             ORDER BY priority DESC, seq"
        }
        None => {
            "SELECT priority, seq, record FROM jobs INDEXED BY jobs_ready
             WHERE ready = 1 AND worker_id = ?1 AND worker_group = ?2 ORDER BY priority DESC, seq"
        }
    })?;
    let arguments = [Some(worker_id), Some(worker_group), kind];
    let given = arguments.iter().take(if kind.is_some() { 3 } else { 2 });
    let mut rows = statement.query(params_from_iter(given))?;
    for _ in 0..LOOKED_AT_MAX {
        let Some(row) = rows.next()? else { return Ok(None) };
        let job = job(row, "record")?;
        if labels::meet(&seeker.labels, &job.order.labels) {
            return Ok(Some((row.get("priority")?, row.get("seq")?, job)));
        }
    }
    Ok(None)
}

fn change(connection: &Connection, step: Step) -> Result<Result<Changed, Refused>, StoreError> {
    let Some(mut job) = by_id(connection, &step.id)? else { return Ok(Err(Refused::NotFound)) };
    // With named keys a stranger's job does not exist (decision 18).
    if step.owner.is_some() && job.order.owner.is_some() && step.owner != job.order.owner {
        return Ok(Err(Refused::NotFound));
    }
    let (before, revision) = (job.status, job.revision);
    let proof = match &step.worker {
        None => Proof::None,
        Some(token) => Proof::Worker(token.as_deref()),
    };
    match job.apply(step.change, proof, step.now) {
        Err(refused) => Ok(Err(refused)),
        Ok(outcome) => {
            if outcome != Outcome::Unchanged && !update(connection, &job, revision)? {
                return Ok(Err(Refused::InvalidState));
            }
            Ok(Ok(Changed { job, before, outcome }))
        }
    }
}

fn position(connection: &Connection, id: &str) -> Result<Option<u64>, StoreError> {
    let mut own = connection.prepare_cached("SELECT priority, seq FROM jobs WHERE id = ?1 AND ready = 1")?;
    let own: Option<(i64, i64)> = own.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((priority, seq)) = own else { return Ok(None) };
    let mut before = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_order
         WHERE ready = 1 AND (priority > ?1 OR priority = ?1 AND seq < ?2) LIMIT ?3)",
    )?;
    let before: i64 = before.query_row(params![priority, seq, POSITION_MAX], |row| row.get(0))?;
    Ok((before < POSITION_MAX).then_some(before.cast_unsigned() + 1))
}

fn list(connection: &Connection, filter: &Filter) -> Result<Page, StoreError> {
    let (mut wanted, mut values) = (String::from("1 = 1"), Vec::<Value>::new());
    let mut want = |condition: &str, value: Value| {
        values.push(value);
        wanted.push_str(" AND ");
        wanted.push_str(&condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(status) = filter.status {
        want("status = ?", status.as_str().to_owned().into());
    }
    for (condition, value) in
        [("kind = ?", &filter.kind), ("claimed_by = ?", &filter.worker_id), ("owner = ?", &filter.owner)]
    {
        if let Some(value) = value {
            want(condition, value.clone().into());
        }
    }
    if let Some(tag) = &filter.tag {
        want("instr(tags, ?) > 0", format!("\n{tag}\n").into());
    }
    if let Some(from) = filter.created_from {
        want("created_at >= ?", from.to_sql().into());
    }
    if let Some(to) = filter.created_to {
        want("created_at <= ?", to.to_sql().into());
    }
    if let Some(before) = filter.before {
        want("seq < ?", before.into());
    }
    let sql =
        format!("SELECT seq, record FROM jobs WHERE {} ORDER BY seq DESC LIMIT {}", wanted, filter.limit + 1);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = Page::default();
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.jobs.len() == filter.limit {
            page.next = last;
            break;
        }
        page.jobs.push(job(row, "record")?);
        last = Some(row.get("seq")?);
    }
    Ok(page)
}

fn depths(connection: &Connection) -> Result<Vec<Depth>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT kind, status, count(*), min(created_at) FROM jobs GROUP BY kind, status")?;
    let mut rows = statement.query([])?;
    let mut depths = Vec::new();
    while let Some(row) = rows.next()? {
        let (jobs, oldest): (i64, i64) = (row.get(2)?, row.get(3)?);
        depths.push(Depth {
            kind: row.get(0)?,
            status: Status::parse(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?),
            jobs: jobs.cast_unsigned(),
            oldest: Millis(oldest.cast_unsigned()),
        });
    }
    Ok(depths)
}

fn sweep(connection: &Connection, retention: Retention, now: Millis) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    for mut job in due(connection, now)? {
        let (before, revision) = (job.status, job.revision);
        if let Ok(outcome) = job.apply(Change::Tick, Proof::None, now)
            && outcome != Outcome::Unchanged
            && update(connection, &job, revision)?
        {
            swept.changed.push(Changed { job, before, outcome });
        }
    }
    for (status, kept) in [
        (Status::Completed, retention.done),
        (Status::Canceled, retention.done),
        (Status::Failed, retention.failed),
    ] {
        let until = Millis(now.0.saturating_sub(kept.0)).to_sql();
        let mut forget = connection.prepare_cached(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE status = ?1 AND finished_at <= ?2
                 LIMIT ?3) RETURNING id",
        )?;
        let mut rows = forget.query(params![status.as_str(), until, SWEPT_MAX])?;
        while let Some(row) = rows.next()? {
            swept.forgotten.push(row.get(0)?);
        }
    }
    for id in &swept.forgotten {
        connection.prepare_cached("DELETE FROM once WHERE job_id = ?1")?.execute([id])?;
    }
    Ok(swept)
}

fn with_objects(connection: &Connection) -> Result<Vec<Job>, StoreError> {
    let mut statement = connection
        .prepare("SELECT record FROM jobs INDEXED BY jobs_objects WHERE objects > 0 ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(job(row, "record")?);
    }
    Ok(jobs)
}

fn due(connection: &Connection, now: Millis) -> Result<Vec<Job>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT record FROM jobs WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2")?;
    let mut rows = statement.query(params![now.to_sql(), SWEPT_MAX])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(job(row, "record")?);
    }
    Ok(jobs)
}

/// Also drops records that can't be read: a half-written one is never taken for a whole one.
fn resume(connection: &Connection, grace: Millis, now: Millis) -> Result<Vec<Job>, StoreError> {
    let (mut live, mut damaged) = (Vec::new(), Vec::new());
    let mut statement =
        connection.prepare("SELECT seq, record FROM jobs WHERE finished_at IS NULL ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match job(row, "record") {
            Ok(job) => live.push(job),
            Err(_) => damaged.push(row.get::<_, i64>("seq")?),
        }
    }
    for seq in damaged {
        tracing::error!(seq, "a job's record is damaged and was dropped");
        connection.execute("DELETE FROM jobs WHERE seq = ?1", [seq])?;
    }
    for job in &mut live {
        let held = job.status.is_held();
        let Some(claim) = job.claim.as_mut().filter(|_| held) else { continue };
        // A worker that is still there speaks within its own lease.
        let until = Millis(now.0.saturating_add(grace.min(claim.lease).0));
        if claim.until < until {
            claim.until = until;
            update(connection, job, job.revision)?;
        }
    }
    Ok(live)
}
