//! The small process between an agent and a child: the same program, started by the agent
//! with the child's command behind a hidden word.
//!
//! It leads the process group in which the child and all that the child starts run, and
//! hands the child what the agent writes. When the agent lets go of it, by closing the pipe
//! or by dying in any way, it ends the group: first the child's input ends, then comes
//! SIGTERM, then SIGKILL. So nobody outlives an agent, even one that was killed. When the
//! child ends first, what it started is ended as well.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The word behind which a program must call [`supervise`].
pub const SUPERVISE: &str = "mcp-child";

/// How long a child may take to end after its input ended, and after SIGTERM.
pub(super) const END_OF_INPUT_MAX: Duration = Duration::from_secs(2);
pub(super) const TERM_MAX: Duration = Duration::from_secs(2);

/// Which program supervises children, and what it is told before a child's command.
#[derive(Debug, Clone)]
pub struct Supervisor {
    /// The program.
    pub program: PathBuf,
    /// What it is told first.
    pub args: Vec<OsString>,
}

impl Supervisor {
    /// This same program.
    pub fn own() -> Self {
        // By this name it is found even after an update has replaced the file.
        let by_kernel = PathBuf::from("/proc/self/exe");
        let program = if by_kernel.exists() {
            by_kernel
        } else {
            std::env::current_exe().unwrap_or_else(|_| PathBuf::from("nfrx"))
        };
        Self { program, args: vec![SUPERVISE.into()] }
    }
}

/// Starts the command, hands it this process's input, and ends its group when it is over.
///
/// Returns only if the command can't be started, or the group can't be ended: the process
/// ends with its group.
#[cfg(unix)]
pub fn supervise(command: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(unix::supervise(command.into_iter().collect()));
    // Its reader of the input may wait for ever.
    runtime.shutdown_background();
    result
}

/// There are no process groups here.
#[cfg(not(unix))]
pub fn supervise(_command: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "MCP servers over stdio need a Unix system"))
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsString;
    use std::io::{self, Write as _};
    use std::process::Stdio;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Signal, getpgrp, kill_process_group};
    use tokio::process::{Child, Command};
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::task::spawn_blocking;

    use super::{END_OF_INPUT_MAX, TERM_MAX};

    pub(super) async fn supervise(mut command: Vec<OsString>) -> io::Result<()> {
        // What the group is sent must not end its leader before it has sent the last one.
        let _kept = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ];
        if command.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command to run"));
        }
        let args = command.split_off(1);
        let program = command.remove(0);
        let started = Command::new(&program).args(args).stdin(Stdio::piped()).spawn();
        let mut child = started
            .map_err(|error| io::Error::new(error.kind(), format!("can't start {program:?}: {error}")))?;
        let input = child.stdin.take().map(|input| input.into_owned_fd()).transpose()?;
        let feeding = spawn_blocking(move || feed(input.map(std::fs::File::from)));
        tokio::select! {
            status = child.wait() => tell(&status?.to_string()),
            () = let_go(feeding) => end(&mut child).await,
        }
        kill_process_group(getpgrp(), Signal::KILL)?;
        Ok(())
    }

    /// Copies the input to the child, until one of them is at its end.
    fn feed(child: Option<std::fs::File>) {
        if let Some(mut child) = child {
            // How it ended does not matter: the child is ended in any case.
            let _ = io::copy(&mut io::stdin().lock(), &mut child);
        }
    }

    /// Ends when the agent is gone, whether or not all that it wrote was read, or when the
    /// child reads no more.
    async fn let_go(feeding: tokio::task::JoinHandle<()>) {
        let hung_up = spawn_blocking(|| {
            let stdin = io::stdin();
            // No event is asked for: that nobody writes any more is told in any case.
            while let Err(rustix::io::Errno::INTR) =
                poll(&mut [PollFd::new(&stdin, PollFlags::empty())], None)
            {}
        });
        tokio::select! {
            _ = feeding => {}
            _ = hung_up => {}
        }
    }

    /// What of the child's input was under way still arrives: the feeder goes on.
    async fn end(child: &mut Child) {
        if tokio::time::timeout(END_OF_INPUT_MAX, child.wait()).await.is_ok() {
            return;
        }
        // It may have ended by itself just now.
        let _ = kill_process_group(getpgrp(), Signal::TERM);
        let _ = tokio::time::timeout(TERM_MAX, child.wait()).await;
    }

    /// The agent reads it behind the child's own last words.
    fn tell(status: &str) {
        // Nobody may listen any more.
        let _ = writeln!(io::stderr(), "the process ended: {status}");
    }
}
