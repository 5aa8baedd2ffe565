//! A list per type in Redis: how small job queues are built on it, and the peer of ours.
//!
//! A job is an element of a list; taking it moves it to the list of those being worked on, in one
//! step. There is no lease, no state and no history: it does less than a job queue, and is as quick
//! as one can be. The client is a bare one for the same reason as the one for HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use super::queue::Mode;
use crate::process::Process;

/// A job as it is kept, of the size of ours.
const JOB: &str = r#"{"id":"00000000-0000-4000-8000-000000000000","metadata":{"name":"a.txt"}}"#;
/// Where jobs are that somebody took.
const TAKEN: &str = "taken";

/// Starts Redis; durable means what it means with us: the answer comes after the disk has it.
pub(super) fn start(program: &Path, mode: Mode, addr: SocketAddr, folder: &Path) -> Result<Process> {
    let mut redis = Command::new(program);
    redis.env_clear().current_dir(folder).args(["--bind", "127.0.0.1", "--save", ""]);
    redis.args(["--port", &addr.port().to_string(), "--dir"]).arg(folder);
    match mode {
        Mode::Durable => redis.args(["--appendonly", "yes", "--appendfsync", "always"]),
        Mode::Memory => redis.args(["--appendonly", "no"]),
    };
    Process::start("redis", &mut redis, folder)
}

/// One connection, with one command at a time.
#[derive(Debug)]
pub(super) struct RedisLink {
    socket: BufStream<TcpStream>,
}

impl RedisLink {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(addr).await.context("redis is not there")?;
        socket.set_nodelay(true)?;
        Ok(Self { socket: BufStream::new(socket) })
    }

    pub(super) async fn create(&mut self, list: &str) -> Result<()> {
        self.ask(&["RPUSH", list, JOB]).await
    }

    pub(super) async fn claim(&mut self, list: &str) -> Result<()> {
        self.ask(&["LMOVE", list, TAKEN, "LEFT", "RIGHT"]).await
    }

    pub(super) async fn wait(&mut self, list: &str, seconds: u64) -> Result<()> {
        self.ask(&["BLMOVE", list, TAKEN, "LEFT", "RIGHT", &seconds.to_string()]).await
    }

    /// Sends a command and reads its answer, which must be a number or a text (RESP2).
    async fn ask(&mut self, words: &[&str]) -> Result<()> {
        let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let words: Vec<_> = words.collect();
        self.socket.write_all(format!("*{}\r\n{}", words.len(), words.concat()).as_bytes()).await?;
        self.socket.flush().await?;
        let mut line = String::new();
        self.socket.read_line(&mut line).await?;
        match line.trim_end().split_at_checked(1) {
            Some((":", _)) => Ok(()),
            Some(("$", length)) if length != "-1" => {
                let length: usize = length.parse().context("redis gives no length")?;
                let mut text = vec![0; length + "\r\n".len()];
                self.socket.read_exact(&mut text).await?;
                Ok(())
            }
            _ => bail!("redis answers `{}`", line.trim_end()),
        }
    }
}
