//! Rows and records.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use crate::job::Job;
use crate::store::StoreError;
use crate::time::Millis;

/// The columns that are searched by, made from the record.
struct Columns {
    ready: bool,
    due_at: Option<Millis>,
}

impl Columns {
    fn of(job: &Job) -> Self {
        let ends = [job.order.expires_at, job.lease_until(), job.ready_at];
        Self {
            ready: job.is_ready(),
            due_at: ends.into_iter().flatten().min().filter(|_| !job.status.is_terminal()),
        }
    }
}

/// Reads a record.
pub(super) fn job(row: &Row<'_>, column: &str) -> Result<Job, StoreError> {
    let record: String = row.get(column)?;
    Ok(serde_json::from_str(&record)?)
}

/// The job of this id.
pub(super) fn by_id(connection: &Connection, id: &str) -> Result<Option<Job>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT record FROM jobs WHERE id = ?1")?;
    let record: Option<String> = statement.query_row([id], |row| row.get(0)).optional()?;
    Ok(record.map(|record| serde_json::from_str(&record)).transpose()?)
}

/// Adds a row.
pub(super) fn insert(connection: &Connection, job: &Job) -> Result<(), StoreError> {
    let columns = Columns::of(job);
    let order = &job.order;
    let tags = order.tags.iter().fold(String::from("\n"), |text, tag| text + tag + "\n");
    connection
        .prepare_cached(
            "INSERT INTO jobs (id, revision, status, kind, worker_id, worker_group, priority, ready, due_at,
                created_at, claimed_by, owner, tags, record)
             VALUES (:id, :revision, :status, :kind, :worker_id, :worker_group, :priority, :ready, :due_at,
                :created_at, '', :owner, :tags, :record)",
        )?
        .execute(named_params! {
            ":id": job.id,
            ":revision": job.revision.cast_signed(),
            ":status": job.status.as_str(),
            ":kind": order.kind,
            ":worker_id": order.worker_id,
            ":worker_group": order.worker_group,
            ":priority": order.priority,
            ":ready": columns.ready,
            ":due_at": columns.due_at.map(Millis::to_sql),
            ":created_at": job.created_at.to_sql(),
            ":owner": order.owner,
            ":tags": tags,
            ":record": serde_json::to_string(job)?,
        })?;
    Ok(())
}

/// Replaces a row whose job had `revision`; false if it has another by now.
pub(super) fn update(connection: &Connection, job: &Job, revision: u64) -> Result<bool, StoreError> {
    let columns = Columns::of(job);
    let claimed_by = job.claim.as_ref().map_or("", |claim| claim.worker_id.as_str());
    let rows = connection
        .prepare_cached(
            "UPDATE jobs SET revision = ?3, status = ?4, ready = ?5, due_at = ?6, claimed_by = ?7,
                finished_at = ?8, record = ?9, objects = ?10
             WHERE id = ?1 AND revision = ?2",
        )?
        .execute(params![
            job.id,
            revision.cast_signed(),
            job.revision.cast_signed(),
            job.status.as_str(),
            columns.ready,
            columns.due_at.map(Millis::to_sql),
            claimed_by,
            job.finished_at.map(Millis::to_sql),
            serde_json::to_string(job)?,
            job.objects().count().cast_signed() as i64,
        ])?;
    Ok(rows == 1)
}
