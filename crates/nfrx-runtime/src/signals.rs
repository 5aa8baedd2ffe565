//! The signals that end a process: the first asks it to finish, the second to stop at
//! once (configuration contract §7).

use std::future::Future;
use std::io;

/// Ends with the first SIGTERM or SIGINT (elsewhere Ctrl-C) after the call. The signal
/// no longer ends the process by itself from then on.
pub fn terminate() -> io::Result<impl Future<Output = ()> + Send + use<>> {
    nth(1)
}

/// Ends with the second such signal after the call; call it together with
/// [`terminate`].
pub fn terminate_again() -> io::Result<impl Future<Output = ()> + Send + use<>> {
    nth(2)
}

#[cfg(unix)]
fn nth(count: u32) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    use tokio::signal::unix::{SignalKind, signal};
    // Made before the future is polled, so that no signal falls in between.
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..count {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        }
    })
}

#[cfg(windows)]
fn nth(count: u32) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let mut ctrl_c = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        for _ in 0..count {
            ctrl_c.recv().await;
        }
    })
}
