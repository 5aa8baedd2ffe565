//! HTTP/2 frames made by hand.

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are RFC 9113's")]
pub enum Kind {
    Data = 0,
    Headers = 1,
    Priority = 2,
    RstStream = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

/// Nothing follows on this stream.
pub const END_STREAM: u8 = 1;
/// The head is complete.
pub const END_HEADERS: u8 = 4;

/// A frame.
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind as u8, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field as HPACK writes it without its tables.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        field.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("short texts"));
        field.extend(text.bytes());
    }
    field
}

/// The fields of a GET request.
pub fn get(path: &str) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "relay.test"), (":path", path)];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The fields of a POST request.
pub fn post(path: &str, key: &str) -> Vec<u8> {
    let bearer = format!("Bearer {key}");
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "relay.test"),
        (":path", path),
        ("authorization", &bearer),
        ("content-type", "application/json"),
    ];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The preface and empty settings.
pub fn hello() -> Vec<u8> {
    [PREFACE, &frame(Kind::Settings, 0, 0, b"")].concat()
}
