//! A raw WebSocket on a pipe: says and hears messages as they are on the wire.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use nfrx_testkit::pipe::PipeEnd;
use nfrx_testkit::relay::patiently;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

/// One end of an upgraded connection.
pub struct Socket {
    inner: WebSocketStream<PipeEnd>,
}

/// What came from the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message of text.
    Text(String),
    /// A close frame: its code and reason; 1005 when it has none.
    Closed(u16, String),
    /// The connection ended without one.
    Gone,
}

impl Socket {
    /// On a connection whose upgrade is done.
    pub(crate) async fn new(io: PipeEnd, role: Role) -> Self {
        Self { inner: WebSocketStream::from_raw_socket(io, role, None).await }
    }

    /// Says a message. Whether it leaves is not looked at: the other end may be gone.
    pub async fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string()).await;
    }

    /// Says a text as it is.
    pub async fn say_text(&mut self, text: &str) {
        let _ = self.inner.send(Message::text(text)).await;
    }

    /// Says bytes in a binary message.
    pub async fn say_bytes(&mut self, bytes: &[u8]) {
        let _ = self.inner.send(Message::binary(bytes.to_vec())).await;
    }

    /// Asks for a pong and waits for it. Messages that come first are an error.
    pub async fn ping(&mut self, payload: &[u8]) {
        self.inner.send(Message::Ping(payload.to_vec().into())).await.expect("the other end is there");
        let heard = patiently(self.inner.next()).await.expect("an answer").expect("a frame");
        assert_eq!(heard, Message::Pong(payload.to_vec().into()));
    }

    /// Closes with a code and a reason; the other end may still say something.
    pub async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() };
        let _ = self.inner.close(Some(frame)).await;
    }

    /// The next thing that is heard. Pings and pongs are the library's matter.
    pub async fn heard(&mut self) -> Heard {
        loop {
            match patiently(self.inner.next()).await {
                Some(Ok(Message::Text(text))) => return Heard::Text(text.to_string()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Heard::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Close(None))) => return Heard::Closed(1005, String::new()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("peers of v1 speak text: {other:?}"),
                Some(Err(_)) | None => return Heard::Gone,
            }
        }
    }

    /// The text of the next message.
    #[track_caller]
    pub fn text(&mut self) -> impl Future<Output = String> {
        let here = std::panic::Location::caller();
        async move {
            match self.heard().await {
                Heard::Text(text) => text,
                other => panic!("a message was waited for at {here}, and there came {other:?}"),
            }
        }
    }

    /// The next message.
    #[track_caller]
    pub fn hear(&mut self) -> impl Future<Output = Value> {
        let text = self.text();
        async move { serde_json::from_str(&text.await).expect("one JSON object a message") }
    }

    /// The next message of this type; others are passed over.
    pub async fn hear_a(&mut self, kind: &str) -> Value {
        self.hear_until(|message| message["type"] == kind).await
    }

    /// The next message that is more than a sign of life.
    pub async fn hear_news(&mut self) -> Value {
        self.hear_until(|message| message["type"] != "heartbeat").await
    }

    /// Listens for that long, and answers pings; nothing but signs of life may come.
    pub async fn hear_no_news(&mut self, span: Duration) {
        let news = tokio::time::timeout(span, self.hear_news()).await;
        assert!(news.is_err(), "{news:?}");
    }

    /// The next message that is wanted. Signs of life go on for ever, so that the wait for it
    /// has an end of its own.
    #[track_caller]
    pub fn hear_until(&mut self, wanted: impl Fn(&Value) -> bool) -> impl Future<Output = Value> {
        patiently(async move {
            loop {
                let message = self.hear().await;
                if wanted(&message) {
                    return message;
                }
            }
        })
    }

    /// Waits for the end, over whatever is said before it.
    #[track_caller]
    pub fn end(&mut self) -> impl Future<Output = Heard> {
        patiently(async move {
            loop {
                match self.heard().await {
                    Heard::Text(_) => {}
                    end => return end,
                }
            }
        })
    }
}

/// Reads the head of a request or an answer, and not a byte more.
pub(crate) async fn read_head(io: &mut PipeEnd) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match patiently(io.read_u8()).await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Writes a head.
pub(crate) async fn write_head(io: &mut PipeEnd, head: &str) {
    io.write_all(head.as_bytes()).await.expect("the other end is there");
    io.flush().await.expect("the other end is there");
}

/// The value of a header in a head; empty when it is not there.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.next().map_or("", |(_, value)| value.trim())
}

/// The names of an object's members in the order in which they are written: some old
/// parsers look at the first member to tell messages apart.
pub fn members(object: &str) -> Vec<String> {
    struct Names;
    impl<'de> serde::de::Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(object);
    serde::Deserializer::deserialize_map(&mut reader, Names).expect("a message is an object")
}
