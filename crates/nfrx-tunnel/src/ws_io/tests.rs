use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncWriteExt, duplex};

use super::*;

/// A piece of an answer, as HTTP/2 frames it. From 256 bytes on, it flushes after each.
fn piece() -> Vec<u8> {
    [b"\x00\x01\xf4\x00\x00\x00\x00\x00\x01".as_slice(), &[0; 500]].concat()
}

#[tokio::test(start_paused = true)]
async fn pieces_in_company_leave_in_one_message_though_each_is_flushed() {
    let (near, far) = duplex(1 << 20);
    let mut io = WsIo::new(near, Role::Client, Box::new(|| {})).await;
    let mut far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let mut came = || match far.next().now_or_never() {
        Some(message) => message.expect("open").expect("unbroken").len(),
        None => 0,
    };
    for _ in 0..100 {
        tokio::time::advance(Duration::from_micros(100)).await;
        io.write_all(&piece()).await.expect("room for it");
        io.flush().await.expect("room for it");
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    io.flush().await.expect("room for it");
    while came() > 0 {}

    let begun = Instant::now();
    for _ in 0..5 {
        io.write_all(&piece()).await.expect("room for it");
        io.flush().await.expect("room for it");
    }
    // Seen to fail: with a flush that takes as long as they wait.
    assert_eq!((begun.elapsed(), came()), (Duration::ZERO, 0));
    tokio::time::sleep(Duration::from_millis(2)).await;
    io.flush().await.expect("room for it");
    assert_eq!((came(), came()), (5 * piece().len(), 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_leaves_though_nobody_writes_any_more() {
    // Not all of which have waited when the last comes.
    const PIECES: usize = 95;
    let (near, far) = duplex(1 << 20);
    let mut io = WsIo::new(near, Role::Client, Box::new(|| {})).await;
    let mut far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let written = async {
        for _ in 0..PIECES {
            tokio::time::advance(Duration::from_micros(100)).await;
            io.write_all(&piece()).await.expect("room for it");
            io.flush().await.expect("room for it");
        }
        // As a connection's task does: it flushes whenever it is woken. Seen to fail: with a timer
        // that nobody waits for.
        std::future::poll_fn(|cx| {
            let flushed = Pin::new(&mut io).poll_flush(cx);
            assert!(flushed.is_ready(), "there is room");
            Poll::<()>::Pending
        })
        .await;
    };
    let came = async {
        let mut came = 0;
        while came < PIECES * piece().len() {
            came += far.next().await.expect("open").expect("unbroken").len();
        }
    };
    let begun = Instant::now();
    let both = async {
        tokio::select! { () = written => {}, () = came => {} }
    };
    tokio::time::timeout(Duration::from_secs(1), both).await.expect("it leaves");
    assert!(begun.elapsed() < Duration::from_millis(20), "{:?}", begun.elapsed());
}
