//! How the sockets that agents dial with are set up.

use std::io;

use socket2::SockRef;
use tokio::net::TcpStream;

/// What the kernel takes ahead of what it can send. Without a bound it takes as much again as is
/// under way, and on a slow line a token waits behind all of it; here it waits while a fast line
/// sends this much in a fraction of a millisecond.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

/// Sets a socket up for small pieces that must not wait: neither for more of them to fill a packet,
/// nor behind much else.
///
/// # Errors
///
/// The system refuses an option, as for a socket that the other end has reset.
pub(crate) fn prompt(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn little_waits_in_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prompt(&socket).unwrap();
        // Seen to fail: with either option left out.
        assert!(socket.nodelay().unwrap());
        assert_eq!(SockRef::from(&socket).tcp_notsent_lowat().unwrap(), UNSENT_BYTES_MAX);
    }
}
