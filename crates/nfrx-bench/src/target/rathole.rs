//! rathole: a raw TCP tunnel that knows nothing of HTTP, and what our costs are compared with.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Backend, KEY, Target, free_addr};
use crate::process::Process;

/// Starts its server and its client, which is called our `agent` here.
pub(crate) async fn rathole(program: &Path, backend: &Backend, folder: &Path) -> Result<Target> {
    let (control, addr) = (free_addr()?, free_addr()?);
    let server = format!(
        "[server]\nbind_addr = \"{control}\"\ndefault_token = \"{KEY}\"\n\
         [server.services.backend]\nbind_addr = \"{addr}\"\n"
    );
    let client = format!(
        "[client]\nremote_addr = \"{control}\"\ndefault_token = \"{KEY}\"\n\
         [client.services.backend]\nlocal_addr = \"{}\"\n",
        backend.addr
    );
    let processes = vec![
        start(program, "server", "--server", &server, folder)?,
        start(program, "agent", "--client", &client, folder)?,
    ];
    Target::local("rathole", addr, processes).ready().await
}

fn start(program: &Path, role: &'static str, side: &str, config: &str, folder: &Path) -> Result<Process> {
    let file = folder.join(format!("{role}.toml"));
    fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(program);
    command.env_clear().env("RUST_LOG", "error").current_dir(folder).arg(side).arg(file);
    Process::start(role, &mut command, folder)
}
