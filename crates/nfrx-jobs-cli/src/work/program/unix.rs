//! Programs on Unix: a process group of their own, and file descriptor 3 for progress.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::mpsc;

use super::Ended;
use crate::api::plain;
use crate::work::job::Claimed;
use crate::work::telling::News;

/// A longer line is cut, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// Lines of standard error that are kept for the error.
const WORDS_MAX: usize = 20;
/// How long a program that is told to end may take.
const TERM_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Metadata that fits an environment everywhere, in bytes.
const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Variables that are this process's alone.
const OWN: [&str; 3] = ["CLIENT_KEY", "API_KEY", "ADMIN_KEY"];

/// What is written there the program reads.
pub(in crate::work) type Stdin = ChildStdin;

/// What is to be run.
pub(in crate::work) struct Program<'a> {
    pub(in crate::work) command: &'a [String],
    pub(in crate::work) claimed: &'a Claimed,
}

/// A program that runs. Dropping it ends the program and all that it started.
pub(in crate::work) struct Running {
    child: Child,
    output: std::fs::File,
    stderr: Option<ChildStderr>,
    progress: Option<Receiver>,
    news: Option<mpsc::Sender<News>>,
    group: Group,
}

impl Program<'_> {
    /// Starts it.
    pub(in crate::work) fn start(&self, news: mpsc::Sender<News>) -> io::Result<(Running, Stdin)> {
        let [program, args @ ..] = self.command else { return Err(io::Error::other("no program is named")) };
        let output = tempfile::tempfile()?;
        let (progress, told) = io::pipe()?;
        let mut command = std::process::Command::new(program);
        command
            .args(args)
            .env("NFRX_JOB_ID", &self.claimed.id)
            .env("NFRX_JOB_TYPE", &self.claimed.kind)
            .env("NFRX_PROGRESS_FD", "3");
        if let Some(metadata) = self.claimed.metadata.as_ref().filter(|text| text.len() <= METADATA_BYTES_MAX)
        {
            command.env("NFRX_JOB_METADATA", metadata);
        }
        for name in OWN {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mapping = FdMapping { parent_fd: OwnedFd::from(told), child_fd: 3 };
        command.fd_mappings(vec![mapping]).map_err(io::Error::other)?;
        let mut command = Command::from(command);
        let started = command.spawn();
        // Else our own end would keep the pipe open.
        drop(command);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("`{program}` can't be started: {error}"));
        let mut child = started.map_err(named)?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let missing = || io::Error::other("a stream of the program is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stderr = Some(child.stderr.take().ok_or_else(missing)?);
        let progress = Some(Receiver::from_owned_fd(OwnedFd::from(progress))?);
        Ok((Running { child, output, stderr, progress, news: Some(news), group }, stdin))
    }
}

impl Running {
    /// Completes when the program has ended, and nothing that it started is left.
    pub(in crate::work) async fn ended(&mut self) -> io::Result<Ended> {
        let (stderr, progress, news) = (self.stderr.take(), self.progress.take(), self.news.take());
        let mut words = VecDeque::new();
        let listening = async {
            let lines = async {
                let mut lines = Lines::of(stderr);
                while let Some(line) = lines.next().await {
                    if words.len() == WORDS_MAX {
                        words.pop_front();
                    }
                    words.push_back(line.clone());
                    say(news.as_ref(), News::Line(line)).await;
                }
            };
            let told = async {
                let mut lines = Lines::of(progress);
                while let Some(line) = lines.next().await {
                    say(news.as_ref(), News::Progress(line)).await;
                }
            };
            tokio::join!(lines, told);
        };
        let (child, group) = (&mut self.child, &mut self.group);
        let ending = async {
            let status = child.wait().await;
            // What it leaves behind holds its streams open.
            group.end().await;
            status
        };
        let (status, ()) = tokio::join!(ending, listening);
        drop(news);
        Ok(Ended { status: status?, words: Vec::from(words).join("\n") })
    }

    /// What it wrote, from the beginning, and how much that is.
    pub(in crate::work) async fn output(self) -> io::Result<(File, u64)> {
        let mut file = File::from_std(self.output.try_clone()?);
        let bytes = file.metadata().await?.len();
        file.rewind().await?;
        Ok((file, bytes))
    }
}

async fn say(news: Option<&mpsc::Sender<News>>, what: News) {
    if let Some(news) = news {
        // Nobody may listen any more.
        let _ = news.send(what).await;
    }
}

/// The lines of a stream, fit for a terminal, the blank ones left out.
struct Lines<R>(Option<BufReader<R>>);

impl<R: AsyncRead + Unpin> Lines<R> {
    fn of(stream: Option<R>) -> Self {
        Self(stream.map(BufReader::new))
    }

    async fn next(&mut self) -> Option<String> {
        let stream = self.0.as_mut()?;
        loop {
            let mut line = Vec::new();
            let read = (&mut *stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
            if read.is_ok_and(|read| read > 0) {
                let text = plain(String::from_utf8_lossy(&line).trim_end());
                if !text.trim().is_empty() {
                    return Some(text);
                }
            } else {
                return None;
            }
        }
    }
}

/// A process group. Dropping it kills what is left of it.
struct Group(Option<Pid>);

impl Group {
    /// Asks it to end, and kills what has not after a while.
    async fn end(&mut self) {
        let Some(group) = self.0.take() else { return };
        // An error says that nobody is left in it.
        let _ = kill_process_group(group, Signal::TERM);
        let end = tokio::time::Instant::now() + TERM_MAX;
        while test_kill_process_group(group).is_ok() && tokio::time::Instant::now() < end {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
