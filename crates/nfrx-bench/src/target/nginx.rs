//! nginx as a plain reverse proxy: no tunnel, one process per core.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Backend, Target, free_addr};
use crate::process::Process;

/// Starts it; streams are passed on as they come, and nothing is buffered on disk.
pub(crate) async fn nginx(program: &Path, backend: &Backend, folder: &Path) -> Result<Target> {
    let addr = free_addr()?;
    let file = folder.join("nginx.conf");
    fs::write(&file, config(&addr.to_string(), &backend.addr.to_string()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(program);
    command.env_clear().arg("-p").arg(folder).arg("-e").arg("error.log").arg("-c").arg(&file);
    let process = Process::start("server", command.current_dir(folder), folder)?;
    Target::local("nginx", addr, vec![process]).ready().await
}

fn config(addr: &str, backend: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {kind};\n"))
        .concat();
    format!(
        "daemon off;\nworker_processes auto;\npid nginx.pid;\nerror_log error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n{temporary}  access_log off;\n  client_max_body_size 0;\n  keepalive_requests 1000000000;\n  \
         upstream backend {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {addr};\n    location / {{\n      proxy_pass http://backend;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_buffering off;\n      \
         proxy_request_buffering off;\n    }}\n  }}\n}}\n"
    )
}
