//! The socket: accepts connections until told to stop, then finishes what it accepted.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::SimConfig;
use crate::handle::SimHandle;

/// How long accepted requests may go on once the server is told to stop.
pub const GRACE: Duration = Duration::from_secs(1);

/// Before the next attempt when the system has no socket left for us.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A simulated backend on a port of its own.
#[derive(Debug)]
pub struct Sim {
    listener: TcpListener,
    addr: SocketAddr,
    handle: SimHandle,
}

impl Sim {
    /// Takes the port (0 for any free one); nobody is served before [`Sim::serve`].
    ///
    /// # Errors
    ///
    /// The system refused the address.
    pub async fn bind(addr: SocketAddr, config: SimConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr, handle: SimHandle::new(config) })
    }

    /// The address that was bound.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The record of what happens here; it outlives the server.
    pub fn handle(&self) -> SimHandle {
        self.handle.clone()
    }

    /// Serves until `stop` completes, then takes nothing new, waits up to [`GRACE`] for
    /// accepted requests and cuts the rest. Dropping the future cuts all at once.
    ///
    /// # Errors
    ///
    /// None today: failures to accept are logged and tried again.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let Self { listener, addr, handle } = self;
        let draining = CancellationToken::new();
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        info!(%addr, "simulated backend ready");
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                accepted = accept(&listener) => {
                    connections.spawn(serve_socket(accepted, handle.clone(), draining.clone()));
                }
            }
        }
        drop(listener);
        draining.cancel();
        let all_end = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all_end).await.is_err() {
            info!(left = connections.len(), "grace is over, cutting simulated answers");
            connections.shutdown().await;
        }
        Ok(())
    }
}

/// The next connection, however often the system fails to give us one.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_socket(socket: TcpStream, handle: SimHandle, draining: CancellationToken) {
    // A token is a small write: held back for the acknowledgement of the one before, it
    // would come 40 ms late.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "cannot disable delays on a socket");
    }
    if let Err(error) = handle.serve_until(socket, draining).await {
        debug!(%error, "connection ended early");
    }
}
