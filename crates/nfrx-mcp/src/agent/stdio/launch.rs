//! How a child comes into being: its command, and the streams by which it is spoken to.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nfrx_spi::{BoxFuture, Secret};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::process::{Child, Command};

use super::supervisor::{END_OF_INPUT_MAX, Supervisor, TERM_MAX};

/// So long after `stdin` was dropped even a supervisor is not believed to end by itself.
pub(super) const GONE_MAX: Duration =
    END_OF_INPUT_MAX.saturating_add(TERM_MAX).saturating_add(Duration::from_secs(3));

/// What a child gets of the agent's own environment: enough to run, and none of the
/// agent's keys.
const INHERITED: [&str; 14] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
];

/// What is started for a server: fixed by the agent's own configuration, never by a caller.
/// No shell reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerCommand {
    /// The program, looked for in `PATH` unless it is a path.
    pub command: String,
    /// What it is told.
    pub args: Vec<String>,
    /// Its environment, besides the few variables that every program needs.
    pub env: BTreeMap<String, Secret>,
    /// Where it runs; the agent's own folder if not set.
    pub cwd: Option<PathBuf>,
}

/// A process that was started, or what is spoken to as one.
pub(in crate::agent) struct Process {
    pub(in crate::agent) stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub(in crate::agent) stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub(in crate::agent) stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Completes when nothing of it runs any more: by itself, or soon after `stdin` was
    /// dropped. Then it is not asked, but made to end. Gives the reason, if it knows one.
    pub(in crate::agent) gone: BoxFuture<'static, Option<String>>,
    /// Ends it at once, if even that does not help.
    pub(in crate::agent) kill: Box<dyn Fn() + Send + Sync>,
}

/// What lies between a session and a task that is spoken to as a process.
const PIPE_BYTES: usize = 64 * 1024;

impl Process {
    /// A task in a process's place: it reads what it is told, says what it has to say, and
    /// ends as soon as it is let go of. Gives the reason of its end, if it knows one.
    pub(in crate::agent) fn of_task<F>(task: impl FnOnce(DuplexStream, DuplexStream) -> F) -> Self
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        let (stdin, told) = tokio::io::duplex(PIPE_BYTES);
        let (says, stdout) = tokio::io::duplex(PIPE_BYTES);
        Self {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(tokio::io::empty()),
            gone: Box::pin(task(told, says)),
            kill: Box::new(|| {}),
        }
    }
}

/// Starts children.
pub(in crate::agent) trait Launch: Send + Sync + 'static {
    /// Starts one.
    fn launch(&self) -> io::Result<Process>;
}

/// Starts children as processes, each under a supervisor of its own.
pub(super) struct Supervised {
    pub(super) supervisor: Supervisor,
    pub(super) command: ServerCommand,
}

impl Launch for Supervised {
    fn launch(&self) -> io::Result<Process> {
        let Self { supervisor, command } = self;
        let mut started = Command::new(&supervisor.program);
        started.args(&supervisor.args).arg(&command.command).args(&command.args).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                started.env(name, value);
            }
        }
        for (name, value) in &command.env {
            started.env(name, value.reveal());
        }
        if let Some(cwd) = &command.cwd {
            started.current_dir(cwd);
        }
        #[cfg(unix)]
        started.process_group(0);
        let mut child =
            started.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let missing = || io::Error::other("a stream of the process is missing");
        Ok(Process {
            stdin: Box::new(child.stdin.take().ok_or_else(missing)?),
            stdout: Box::new(child.stdout.take().ok_or_else(missing)?),
            stderr: Box::new(child.stderr.take().ok_or_else(missing)?),
            kill: Box::new({
                let group = child.id();
                move || kill_group(group)
            }),
            gone: Box::pin(gone(child)),
        })
    }
}

/// Waits for the supervisor, which ends the group. One that was killed itself could not.
async fn gone(mut supervisor: Child) -> Option<String> {
    let group = supervisor.id();
    // How it ended was said by itself.
    let _ = supervisor.wait().await;
    kill_group(group);
    None
}

#[cfg(unix)]
fn kill_group(group: Option<u32>) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = group.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        // An error says that nobody is left in it, as it should be.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(not(unix))]
fn kill_group(_group: Option<u32>) {}
