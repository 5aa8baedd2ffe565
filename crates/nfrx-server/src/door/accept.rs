//! The loop that takes connections from a listener.

use std::io;
use std::time::Duration;

use nfrx_runtime::DrainWatch;
use tokio::net::TcpListener;
use tracing::{debug, warn};

use super::Door;

/// How long to wait when the system can give no connection, such as without free files.
const PAUSE: Duration = Duration::from_millis(200);

/// Accepts until the doors are closed.
pub(crate) async fn accept(listener: TcpListener, door: Door, closing: DrainWatch) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.draining() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                // Tokens are small and late ones are what people notice.
                if let Err(error) = socket.set_nodelay(true) {
                    debug!(%error, "no TCP_NODELAY");
                }
                door.open(socket, peer);
            }
            // The client left before we came to it; that is its affair.
            Err(error) if is_of_the_client(&error) => debug!(%error, "accept"),
            Err(error) => {
                warn!(%error, "can't accept connections, trying again shortly");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
