//! WebSocket frames made by hand, as an agent sends them, and read as a server does.

/// A message of text.
pub const TEXT: u8 = 1;
/// A message of bytes.
pub const BINARY: u8 = 2;
/// The beginning of the end.
pub const CLOSE: u8 = 8;
/// A sign of life.
pub const PING: u8 = 9;

/// The request that asks for an upgrade.
pub fn upgrade(path: &str, key: &str, protocol: Option<&str>) -> Vec<u8> {
    let protocol = protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {key}\r\n{protocol}\r\n"
    )
    .into_bytes()
}

/// A whole message in one frame, masked with zeros.
pub fn message(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [head(opcode, true, payload.len() as u64), payload.to_vec()].concat()
}

/// The code of the first close frame among those of a server, which masks none.
pub fn close_code(mut frames: &[u8]) -> Option<u16> {
    loop {
        let (head, rest) = frames.split_at_checked(2)?;
        let (length, rest) = match head[1] {
            126 => rest.split_at_checked(2)?,
            127 => rest.split_at_checked(8)?,
            _ => (&head[1..], rest),
        };
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let (payload, rest) = rest.split_at_checked(length)?;
        if head[0] & 0x0f == CLOSE {
            return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
        frames = rest;
    }
}

/// The head of a frame of `length` bytes, which need not come.
pub fn head(opcode: u8, last: bool, length: u64) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut head = vec![if last { 0x80 | opcode } else { opcode }];
    match length {
        0..126 => head.push(MASKED | length as u8),
        126..0x1_0000 => {
            head.push(MASKED | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(MASKED | 127);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}
