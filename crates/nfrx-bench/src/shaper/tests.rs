use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Line, Shaper};

/// As good as none.
const LINE: Line =
    Line { delay: Duration::from_millis(1), bytes_per_second: 1 << 40, queue: Duration::from_millis(1) };

#[tokio::test]
async fn both_directions_are_carried_and_counted_and_an_end_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shaper = Shaper::start(LINE, listener.local_addr().unwrap()).unwrap();
    let mut near = TcpStream::connect(shaper.addr()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    let mut text = String::new();

    near.write_all(b"a question").await.unwrap();
    near.shutdown().await.unwrap();
    // Seen to fail: without the shutdown, it never ends.
    far.read_to_string(&mut text).await.unwrap();
    far.write_all(b"an answer to it").await.unwrap();
    drop(far);
    near.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "a questionan answer to it");
    // Seen to fail: with both counted as one.
    assert_eq!((shaper.carried().up(), shaper.carried().down()), (10, 15));
}

#[tokio::test]
async fn what_goes_through_ends_with_the_shaper() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shaper = Shaper::start(LINE, listener.local_addr().unwrap()).unwrap();
    let mut near = TcpStream::connect(shaper.addr()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    // Seen to fail: with a drain that is only begun.
    drop(shaper);
    assert!(matches!(far.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(matches!(near.read(&mut [0]).await, Ok(0) | Err(_)));
}
