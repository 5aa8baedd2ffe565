//! The tables, and how an older file becomes a newer one.

use rusqlite::Connection;

/// Each entry leads from its index to the next format; entries are never changed.
const MIGRATIONS: [&str; 2] = [
    "
    -- One row a job: the record, and beside it what is searched by.
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        revision INTEGER NOT NULL,
        status TEXT NOT NULL,
        kind TEXT NOT NULL,
        worker_id TEXT NOT NULL,
        worker_group TEXT NOT NULL,
        priority INTEGER NOT NULL,
        ready INTEGER NOT NULL,
        due_at INTEGER,
        finished_at INTEGER,
        created_at INTEGER NOT NULL,
        claimed_by TEXT NOT NULL,
        owner TEXT,
        tags TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX jobs_ready_kind ON jobs (kind, worker_id, worker_group, priority DESC, seq) WHERE ready = 1;
    CREATE INDEX jobs_ready ON jobs (worker_id, worker_group, priority DESC, seq) WHERE ready = 1;
    CREATE INDEX jobs_order ON jobs (priority DESC, seq) WHERE ready = 1;
    CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
    CREATE INDEX jobs_finished ON jobs (status, finished_at) WHERE finished_at IS NOT NULL;
    CREATE INDEX jobs_depth ON jobs (kind, status, created_at);
    -- Keys under which clients made jobs, with the digest of what they sent.
    CREATE TABLE once (
        key TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        job_id TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX once_job ON once (job_id);
",
    "
    -- How many stored payloads and results the record names.
    ALTER TABLE jobs ADD COLUMN objects INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX jobs_objects ON jobs (seq) WHERE objects > 0;
",
];

/// The newest format.
pub(super) const FORMAT: i64 = MIGRATIONS.len() as i64;

/// The format of the file; 0 for an empty one.
pub(super) fn format(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings an empty or older file to the newest format, all of it or nothing.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let found = usize::try_from(format(connection)?).unwrap_or_default();
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
