//! Guests whom nobody invited: agents that keep to no rule, and clients that send what no
//! library would send.

use std::net::SocketAddr;
use std::time::Duration;

use nfrx_testkit::fault::{Dice, Rogue, Tally};
use nfrx_testkit::raw::h2::{self, Kind, frame};
use nfrx_testkit::relay::API_KEY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a guest stays at most.
const STAY_MAX: Duration = Duration::from_secs(2);

/// A guest after the other until `until`; `victims` are ids of honest agents.
pub(crate) async fn run(
    server: SocketAddr,
    victims: &[String],
    mut dice: Dice,
    until: Instant,
    faults: Tally,
) {
    loop {
        let next = Instant::now() + dice.millis(100..2_000);
        tokio::time::sleep_until(next.min(until)).await;
        if next >= until {
            return;
        }
        let Ok(socket) = TcpStream::connect(server).await else { continue };
        if dice.one_in(2) {
            let rogue = *dice.pick(&Rogue::ALL);
            // A thief takes an agent's place for good: what it costs is what a kill costs.
            if rogue == Rogue::Thief && !dice.one_in(4) {
                continue;
            }
            faults.add(rogue.name());
            let victim = dice.pick(victims).clone();
            rogue.act(socket, &mut dice, &victim, STAY_MAX).await;
        } else {
            let (name, bytes, times) = attack(&mut dice);
            faults.add(name);
            // The server may end it whenever it likes.
            let _ = tokio::time::timeout(STAY_MAX, send(socket, &bytes, times)).await;
        }
    }
}

async fn send(mut socket: TcpStream, bytes: &[u8], times: usize) -> std::io::Result<()> {
    for _ in 0..times {
        socket.write_all(bytes).await?;
    }
    let mut piece = [0; 4096];
    while socket.read(&mut piece).await? > 0 {}
    Ok(())
}

/// What a client sends, and how often.
fn attack(dice: &mut Dice) -> (&'static str, Vec<u8>, usize) {
    let path = "/api/llm/v1/chat/completions";
    match dice.within(0..8) {
        0 => ("client sent noise", dice.noise(2_000), 1),
        1 => ("client sent half a head", format!("POST {path} HTTP/1.1\r\nhost: a\r\nx: ").into_bytes(), 1),
        2 => {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {API_KEY}\r\n\
                 content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
            );
            ("client sent two lengths", head.into_bytes(), 1)
        }
        3 => {
            let mut bytes = h2::hello();
            for nth in 0..500 {
                let head = h2::post(path, API_KEY);
                bytes.extend(frame(Kind::Headers, h2::END_HEADERS, 2 * nth + 1, &head));
                bytes.extend(frame(Kind::RstStream, 0, 2 * nth + 1, &8u32.to_be_bytes()));
            }
            ("client reset 500 streams", bytes, 1)
        }
        4 => ("client flooded pings", with_hello(&frame(Kind::Ping, 0, 0, &[0; 8]), 40_000), 1),
        5 => ("client flooded settings", with_hello(&frame(Kind::Settings, 0, 0, b""), 40_000), 1),
        6 => {
            let mut bytes = h2::hello();
            bytes.extend(frame(Kind::Headers, 0, 1, &h2::get("/healthz")));
            (0..500).for_each(|_| bytes.extend(frame(Kind::Continuation, 0, 1, &h2::field("x", "y"))));
            ("client flooded continuations", bytes, 1)
        }
        _ => {
            let overflow = frame(Kind::WindowUpdate, 0, 0, &0x7fff_ffffu32.to_be_bytes());
            ("client overflowed a window", with_hello(&overflow, 2), 1)
        }
    }
}

fn with_hello(frame: &[u8], times: usize) -> Vec<u8> {
    [h2::hello(), frame.repeat(times)].concat()
}
