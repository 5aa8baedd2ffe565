//! Agents that hold a key and keep to no rule. They speak by hand-made frames, over any
//! stream.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Dice, MARK, RawAgent};
use crate::raw::{h2, ws};

/// What such an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rogue {
    /// Upgrades, and never registers.
    Mute,
    /// Registers, and updates its status as fast as it can.
    Flood,
    /// Takes requests and never answers.
    BlackHole,
    /// Answers with what was not asked, in a wrong order, for others' requests.
    Liar,
    /// Registers under the id of another agent, and again.
    Thief,
    /// Says what is no message.
    Babble,
    /// Says more than may be said at once, before it has registered.
    TooMuch,
    /// Speaks noise where HTTP/2 is expected.
    Noise,
    /// Sends frames of HTTP/2 that cost their sender nothing.
    Frames,
}

impl Rogue {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Mute,
        Self::Flood,
        Self::BlackHole,
        Self::Liar,
        Self::Thief,
        Self::Babble,
        Self::TooMuch,
        Self::Noise,
        Self::Frames,
    ];

    /// For a tally.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mute => "rogue agent: mute",
            Self::Flood => "rogue agent: flood",
            Self::BlackHole => "rogue agent: black hole",
            Self::Liar => "rogue agent: liar",
            Self::Thief => "rogue agent: thief",
            Self::Babble => "rogue agent: babble",
            Self::TooMuch => "rogue agent: too much",
            Self::Noise => "rogue agent: noise",
            Self::Frames => "rogue agent: frames",
        }
    }

    /// Does it over `io`, as a worker of language models, until the server has enough or
    /// `span` is over. `victim` is the id of another agent.
    pub async fn act<T>(self, io: T, dice: &mut Dice, victim: &str, span: Duration)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut agent = RawAgent::new(io);
        // The server may end it whenever it likes; that is no failure of ours.
        let _ = tokio::time::timeout(span, self.run(&mut agent, dice, victim)).await;
    }

    async fn run<T>(self, agent: &mut RawAgent<T>, dice: &mut Dice, victim: &str) -> std::io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let is_h2 = matches!(self, Self::Noise | Self::Frames);
        agent.upgrade("llm", is_h2.then_some(nfrx_tunnel::SUBPROTOCOL)).await?;
        match self {
            Self::Mute => {}
            Self::Flood => {
                agent.register("rogue-flood", 4).await?;
                for nth in 0..2_000 {
                    let models = ["demo", "other"][nth % 2];
                    let update = format!(
                        r#"{{"type":"status_update","max_concurrency":{},"models":["{models}"],"status":"idle"}}"#,
                        nth % 5
                    );
                    agent.say(&update).await?;
                }
            }
            Self::BlackHole => agent.register("rogue-hole", 2).await?,
            Self::Liar => {
                agent.register("rogue-liar", 4).await?;
                loop {
                    let id = agent.next_request().await?;
                    lie(agent, &id, dice).await?;
                }
            }
            Self::Thief => {
                for _ in 0..3 {
                    agent.register(victim, 4).await?;
                }
            }
            Self::Babble => {
                let kinds = [
                    r#"{"type":"register"}"#,
                    r#"{"type":"http_proxy_response_end","request_id":"x"}"#,
                    r#"{"type":7}"#,
                    "[[[[[[[[[[[[[[[[",
                    r#"{"type":"register","worker_id":7,"max_concurrency":-1}"#,
                    "\u{0}",
                ];
                for _ in 0..dice.within(1..40) {
                    agent.say(dice.pick::<&str>(&kinds)).await?;
                }
                agent.send(&ws::message(ws::BINARY, &dice.noise(100))).await?;
            }
            Self::TooMuch => {
                agent.send(&ws::head(ws::TEXT, true, 1 << 40)).await?;
                let piece = vec![b'x'; 64 * 1024];
                for _ in 0..64 {
                    agent.send(&piece).await?;
                }
            }
            Self::Noise => {
                for _ in 0..dice.within(1..20) {
                    let bytes = dice.bytes(1 << 16) as usize;
                    agent.send(&ws::message(ws::BINARY, &dice.noise(bytes))).await?;
                }
            }
            Self::Frames => {
                let mut frames = h2::frame(h2::Kind::Settings, 0, 0, b"");
                let kinds = [
                    h2::frame(h2::Kind::Settings, 0, 0, b""),
                    h2::frame(h2::Kind::Ping, 0, 0, &[0; 8]),
                    h2::frame(h2::Kind::WindowUpdate, 0, 0, &1u32.to_be_bytes()),
                ];
                let kind = dice.pick(&kinds);
                (0..200).for_each(|_| frames.extend(kind));
                for _ in 0..50 {
                    agent.send(&ws::message(ws::BINARY, &frames)).await?;
                }
            }
        }
        agent.stay().await
    }
}

/// Answers a request wrongly.
async fn lie<T>(agent: &mut RawAgent<T>, id: &str, dice: &mut Dice) -> std::io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let head = |status: i32| {
        format!(r#"{{"type":"http_proxy_response_headers","request_id":"{id}","status":{status}}}"#)
    };
    let data = STANDARD.encode(MARK);
    let chunk = format!(r#"{{"type":"http_proxy_response_chunk","request_id":"{id}","data":"{data}"}}"#);
    let end = format!(r#"{{"type":"http_proxy_response_end","request_id":"{id}"}}"#);
    let bad = format!(r#"{{"type":"http_proxy_response_chunk","request_id":"{id}","data":"~"}}"#);
    let other = chunk.replace(id, "another-request");
    let lies: [&[String]; 8] = [
        &[chunk.clone(), end.clone()],
        &[head(200), chunk.clone(), end.clone(), end.clone(), chunk.clone()],
        &[head(99), chunk.clone(), end.clone()],
        &[head(-1)],
        &[head(200), head(200), chunk.clone(), end.clone()],
        &[head(200), bad],
        &[other, end.replace(id, "another-request"), head(200), chunk.clone(), end.clone()],
        &[head(200), chunk],
    ];
    for message in *dice.pick(&lies) {
        agent.say(message).await?;
    }
    Ok(())
}
