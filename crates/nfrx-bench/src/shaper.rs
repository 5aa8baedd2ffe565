//! A slow line between sockets of this machine: a proxy that delays, and that carries no more than
//! a rate.
//!
//! Both directions are alike and have nothing to do with each other ([`direction`]). A sender that
//! is faster than the rate is held back by its socket and not by loss. What waits in the kernel on
//! this end of its socket is one more queue of the line, and one that would grow by itself: it is
//! kept short, and segments are as small as on a real path.

mod direction;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nfrx_runtime::Drain;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub(crate) use self::direction::Line;
use self::direction::{PACKET_BYTES, carry};

/// What the kernel may hold of what was sent, before the line has room for it. Linux takes twice
/// as much for it and its own records.
const RECEIVE_BYTES: u32 = 16 * 1024;
/// Connections that wait to be taken.
const BACKLOG: u32 = 16;

/// A listening proxy. Dropping it ends it and cuts what goes through it.
#[derive(Debug)]
pub(crate) struct Shaper {
    addr: SocketAddr,
    carried: Arc<Carried>,
    drain: Drain,
}

/// Bytes that entered the line so far.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    up: AtomicU64,
    down: AtomicU64,
}

impl Carried {
    /// From those who connected.
    pub(crate) fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// To them.
    pub(crate) fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }
}

impl Shaper {
    /// Listens, and connects everybody who comes to `to`, over a line of their own.
    pub(crate) fn start(line: Line, to: SocketAddr) -> io::Result<Self> {
        let socket = small_socket()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let (carried, drain) = (Arc::default(), Drain::new());
        drain.spawn("line", accept(listener, line, to, Arc::clone(&carried), drain.clone()));
        Ok(Self { addr, carried, drain })
    }

    /// Where to connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What entered the line so far.
    pub(crate) fn carried(&self) -> &Carried {
        &self.carried
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        self.drain.cut();
    }
}

async fn accept(listener: TcpListener, line: Line, to: SocketAddr, carried: Arc<Carried>, drain: Drain) {
    // Who cannot be taken, or led on, is hung up on and dials again.
    while let Ok((near, _)) = listener.accept().await {
        let carried = Arc::clone(&carried);
        drain.spawn("connection", async move {
            let _ = join(near, line, to, &carried).await;
        });
    }
}

/// Carries both directions until both have ended.
async fn join(near: TcpStream, line: Line, to: SocketAddr, carried: &Carried) -> io::Result<()> {
    let far = small_socket()?.connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((near_read, mut near_write), (far_read, mut far_write)) = (near.into_split(), far.into_split());
    tokio::join!(
        async {
            carry(line, near_read, &mut far_write, &carried.up).await;
            let _ = far_write.shutdown().await;
        },
        async {
            carry(line, far_read, &mut near_write, &carried.down).await;
            let _ = near_write.shutdown().await;
        },
    );
    Ok(())
}

/// A socket that takes little ahead of us.
fn small_socket() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    // The segments of loopback are larger than this buffer, and would wait until it is empty.
    SockRef::from(&socket).set_tcp_mss(PACKET_BYTES as u32)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
