use std::future::poll_fn;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// A piece of an answer, as HTTP/2 frames it. From 256 bytes on, it flushes after each.
fn piece() -> Vec<u8> {
    [b"\x00\x01\xf4\x00\x00\x00\x00\x00\x01".as_slice(), &[0; 500]].concat()
}

async fn write_and_flush(io: &mut WsIo<DuplexStream>) {
    io.write_all(&piece()).await.expect("room for it");
    io.flush().await.expect("room for it");
}

/// How long the next message is. Meanwhile the connection's task does as it always does: it flushes
/// whenever it is woken.
async fn next(io: &mut WsIo<DuplexStream>, far: &mut WebSocketStream<DuplexStream>) -> usize {
    let message = poll_fn(|cx| {
        assert!(Pin::new(&mut *io).poll_flush(cx).is_ready(), "there is room");
        far.poll_next_unpin(cx)
    });
    let message = tokio::time::timeout(Duration::from_secs(1), message).await;
    message.expect("it leaves").expect("open").expect("unbroken").len()
}

#[tokio::test(start_paused = true)]
async fn pieces_in_company_leave_in_one_message_though_each_is_flushed() {
    let (near, far) = duplex(1 << 20);
    let mut io = WsIo::new(near, Role::Client, Box::new(|| {})).await;
    let mut far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let mut under_way = 0;
    for _ in 0..100 {
        tokio::time::advance(Duration::from_micros(100)).await;
        write_and_flush(&mut io).await;
        under_way += piece().len();
    }
    while under_way > 0 {
        under_way -= next(&mut io, &mut far).await;
    }

    let begun = Instant::now();
    for _ in 0..5 {
        write_and_flush(&mut io).await;
    }
    // Seen to fail: with a flush that takes as long as they wait.
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(next(&mut io, &mut far).await, 5 * piece().len());
    // Seen to fail: with a timer that wakes nobody, and without the wait.
    let waited = begun.elapsed();
    assert!((Duration::from_millis(1)..=Duration::from_millis(2)).contains(&waited), "{waited:?}");
}
