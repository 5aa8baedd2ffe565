//! SQLite as the engine: one writer that commits whatever has gathered, readers apart.
//!
//! A step is put into a bounded queue. Whoever finds the writer idle starts it, on a thread
//! for blocking work; it takes all steps that wait, runs each in a savepoint of one
//! transaction, commits, and answers them: one `fsync` for many.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot};

use super::schema::{self, FORMAT};
use super::{OpenError, StoreError};

/// Steps that may wait for the writer; more wait outside.
const WAITING_MAX: usize = 1024;
/// Steps of one transaction.
const BATCH_MAX: usize = 256;
/// Statements that are kept compiled.
const STATEMENTS: usize = 64;

/// A store of jobs.
#[derive(Clone)]
pub(crate) struct Engine {
    writer: Arc<Lane>,
    reader: Arc<Lane>,
    /// Held as long as the store is open: a second server is refused.
    _lock: Option<Arc<File>>,
}

/// A connection and what waits for it.
struct Lane {
    connection: Mutex<Connection>,
    waiting: Mutex<Waiting>,
    room: Semaphore,
    /// Whether steps change something.
    writes: bool,
}

#[derive(Default)]
struct Waiting {
    steps: VecDeque<Box<dyn Pending>>,
    is_running: bool,
}

/// A step with whoever waits for it.
trait Pending: Send {
    /// Runs it; true if it may be committed.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Answers: with what came of it, or with why nothing was committed.
    fn answer(self: Box<Self>, committed: bool);
}

struct Call<T, F> {
    step: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Pending for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = self.step.take().map(|step| step(connection));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: bool) {
        let result = match self.result {
            Some(Ok(_)) | None if !committed => Err(StoreError::Closed),
            Some(result) => result,
            None => Err(StoreError::Closed),
        };
        let _ = self.reply.send(result);
    }
}

impl Engine {
    /// In a folder, which is made if it is missing.
    pub(crate) fn durable(folder: &Path) -> Result<Self, OpenError> {
        let named = |source| OpenError::Folder { path: folder.display().to_string(), source };
        make_private(folder).map_err(named)?;
        let lock = private(&folder.join("jobs.lock")).map_err(named)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Taken { path: folder.display().to_string() });
            }
            Err(TryLockError::Error(source)) => return Err(named(source)),
        }
        let file = folder.join("jobs.db");
        // SQLite gives its other files the mode of the first.
        private(&file).map_err(named)?;
        let path = || file.display().to_string();
        let refused = |source| OpenError::Engine { path: path(), source };
        let mut writer = Connection::open(&file).map_err(refused)?;
        let found = schema::format(&writer).map_err(refused)?;
        if found > FORMAT {
            return Err(OpenError::Newer { path: path(), found, known: FORMAT });
        }
        set_up(&mut writer).map_err(refused)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&file, flags).map_err(refused)?;
        Ok(Self {
            writer: Lane::new(writer, true),
            reader: Lane::new(reader, false),
            _lock: Some(Arc::new(lock)),
        })
    }

    /// Without a file: what is there ends with the process.
    pub(crate) fn in_memory() -> Result<Self, OpenError> {
        let refused = |source| OpenError::Engine { path: "in memory".to_owned(), source };
        let mut connection = Connection::open_in_memory().map_err(refused)?;
        schema::migrate(&mut connection).map_err(refused)?;
        let lane = Lane::new(connection, true);
        Ok(Self { writer: Arc::clone(&lane), reader: lane, _lock: None })
    }

    /// Runs a step in the writer's next transaction; completes when that is committed.
    pub(super) fn write<T, F>(&self, step: F) -> impl Future<Output = Result<T, StoreError>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        run(Arc::clone(&self.writer), step)
    }

    /// Runs a step that only looks.
    pub(super) fn read<T, F>(&self, step: F) -> impl Future<Output = Result<T, StoreError>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        run(Arc::clone(&self.reader), step)
    }

    /// Refuses what comes from now on, and waits for what is there.
    pub(super) async fn shut(&self) {
        let _ = self.write(|_| Ok(())).await;
        self.writer.room.close();
        self.reader.room.close();
    }
}

async fn run<T, F>(lane: Arc<Lane>, step: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
{
    let _room = lane.room.acquire().await.map_err(|_| StoreError::Closed)?;
    let (reply, answer) = oneshot::channel();
    let idle = {
        let mut waiting = lane.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.steps.push_back(Box::new(Call { step: Some(step), result: None, reply }));
        !std::mem::replace(&mut waiting.is_running, true)
    };
    if idle {
        let lane = Arc::clone(&lane);
        tokio::task::spawn_blocking(move || lane.work());
    }
    answer.await.map_err(|_| StoreError::Closed)?
}

impl Lane {
    fn new(connection: Connection, writes: bool) -> Arc<Self> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Arc::new(Self {
            connection: Mutex::new(connection),
            waiting: Mutex::default(),
            room: Semaphore::new(WAITING_MAX),
            writes,
        })
    }

    /// Works until nothing waits.
    fn work(&self) {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut batch: Vec<_> = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let length = waiting.steps.len().min(BATCH_MAX);
                waiting.is_running = length > 0;
                waiting.steps.drain(..length).collect()
            };
            if batch.is_empty() {
                return;
            }
            let committed = if self.writes {
                commit(&connection, &mut batch)
            } else {
                batch.iter_mut().for_each(|step| {
                    step.run(&connection);
                });
                Ok(())
            };
            if let Err(error) = &committed {
                tracing::error!(%error, "the job store can't commit: is the disk full?");
                let _ = connection.execute_batch("ROLLBACK");
            }
            batch.into_iter().for_each(|step| step.answer(committed.is_ok()));
        }
    }
}

/// Each step in a savepoint of its own, so that a failed one leaves nothing behind.
fn commit(connection: &Connection, batch: &mut [Box<dyn Pending>]) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for step in batch {
        connection.prepare_cached("SAVEPOINT step")?.execute([])?;
        if !step.run(connection) {
            connection.prepare_cached("ROLLBACK TO step")?.execute([])?;
        }
        connection.prepare_cached("RELEASE step")?.execute([])?;
    }
    connection.execute_batch("COMMIT")
}

/// Durable before quick: an answer is given when the disk has it.
fn set_up(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode != "wal" || synchronous < 2 {
        // A file system without shared memory or a build without durability.
        return Err(rusqlite::Error::InvalidQuery);
    }
    schema::migrate(connection)
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A file that only its owner may read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
