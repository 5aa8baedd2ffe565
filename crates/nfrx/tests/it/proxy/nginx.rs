//! With Debian's nginx.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use super::{World, everything_passes, folder, shown, start};
use crate::process::Process;

/// nginx with the page's configuration, but for the port and the certificate.
fn nginx(front: SocketAddr, back: SocketAddr) -> Process {
    let shown = shown("nginx").replace("listen 443 ssl;", &format!("listen {front};"));
    let shown = shown.replace("http://127.0.0.1:8080", &format!("http://{back}"));
    assert!(shown.contains(&front.to_string()) && shown.contains(&back.to_string()), "{shown}");
    let folder = folder("nginx", front);
    let at = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"));
    let config = format!(
        "daemon off; pid {at}/pid; error_log stderr; worker_processes 1;\nevents {{}}\nhttp {{\n{}access_log off;\n{shown}\n}}\n",
        paths.concat()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).expect("a file for nginx");
    let mut command = Command::new(std::env::var("NFRX_NGINX").expect("`cargo xtask test` sets NFRX_NGINX"));
    command.arg("-c").arg(&file).arg("-p").arg(&folder).args(["-g", "master_process off;"]);
    start(command, front)
}

// Seen to fail: without the header `Upgrade`. That tokens are not held back is shown twice over:
// the server asks for it too.
#[test]
fn behind_nginx_everything_passes() {
    everything_passes(&World::start(nginx));
}
