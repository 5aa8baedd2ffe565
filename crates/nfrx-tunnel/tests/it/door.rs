//! What an upgrade request must be (worker protocol §1).

use http::{Request, StatusCode, Version};
use nfrx_spi::{Body, Dialect};
use nfrx_tunnel::TunnelSettings;

use crate::rig::{Relay, context};

/// Changes one header of a good request; an empty value takes it away.
#[track_caller]
fn check(name: &str, value: &str, expected: StatusCode) {
    let relay = Relay::new(TunnelSettings::default());
    let mut request = Request::builder()
        .uri("/api/llm/connect")
        .header("host", "relay.example")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "WebSocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "other, nfrx.h2")
        .body(Body::empty())
        .expect("valid");
    *request.version_mut() = Version::HTTP_11;
    let upgraded = Box::pin(async { Err(std::io::ErrorKind::NotConnected.into()) });
    request.extensions_mut().insert(nfrx_spi::Upgrade::new(upgraded));
    let name: http::HeaderName = name.parse().expect("valid");
    match value {
        "" => drop(request.headers_mut().remove(&name)),
        value => drop(request.headers_mut().insert(&name, value.parse().expect("valid"))),
    }
    let response = match relay.acceptor.upgrade(request, context()) {
        Ok(response) => response,
        Err(error) => error.response(Dialect::Text),
    };
    assert_eq!(response.status(), expected, "{name}: {value}");
    let header =
        |name: &str| response.headers().get(name).map(|value| value.to_str().expect("valid").to_owned());
    match expected {
        StatusCode::SWITCHING_PROTOCOLS => {
            // The sample of RFC 6455 §1.3.
            assert_eq!(header("sec-websocket-accept").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            // An agent that does not ask for `nfrx.h2` speaks v1, for which nothing is chosen.
            let chosen = (name != "sec-websocket-protocol").then_some("nfrx.h2");
            assert_eq!(header("sec-websocket-protocol").as_deref(), chosen);
        }
        StatusCode::UPGRADE_REQUIRED => assert_eq!(header("upgrade").as_deref(), Some("websocket")),
        _ => {}
    }
}

#[tokio::test]
async fn only_a_whole_upgrade_request_opens_a_tunnel() {
    check("x-other", "1", StatusCode::SWITCHING_PROTOCOLS);
    check("connection", "keep-alive", StatusCode::UPGRADE_REQUIRED);
    check("upgrade", "h2c", StatusCode::UPGRADE_REQUIRED);
    check("upgrade", "", StatusCode::UPGRADE_REQUIRED);
    check("sec-websocket-version", "8", StatusCode::BAD_REQUEST);
    check("sec-websocket-version", "", StatusCode::BAD_REQUEST);
    check("sec-websocket-key", "", StatusCode::BAD_REQUEST);
    check("sec-websocket-key", "short", StatusCode::BAD_REQUEST);
    check("sec-websocket-protocol", "", StatusCode::SWITCHING_PROTOCOLS);
    check("sec-websocket-protocol", "chat", StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_tunnel() {
    check("origin", "https://relay.example", StatusCode::SWITCHING_PROTOCOLS);
    check("origin", "https://evil.example", StatusCode::FORBIDDEN);
    check("origin", "null", StatusCode::FORBIDDEN);
}
