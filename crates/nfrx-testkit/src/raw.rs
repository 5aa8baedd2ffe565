//! Bytes as no library would send them: WebSocket and HTTP/2 frames made by hand.

pub mod h2;
pub mod ws;
