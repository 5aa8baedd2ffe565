//! What passes: everything, both ways, byte for byte.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use nfrx_testkit::relay::{Relay, patiently};

use crate::fake::{Fake, Reply};
use crate::rig::{CLOCK, McpAgent, POSTED, Plan, clock, config, header, piece, post, read, relay, request};

async fn answered(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> (Relay, McpAgent, Fake) {
    let fake = Fake::new(move |_| Reply::new(status, headers, body));
    let (relay, agent) = clock(&fake).await;
    (relay, agent, fake)
}

#[tokio::test(start_paused = true)]
async fn a_request_arrives_as_it_was_sent() {
    let fake = Fake::plain();
    let (relay, _agent) = clock(&fake).await;
    // A batch, big numbers, odd spacing, unknown members: nothing is read and written anew.
    let body = "[ {\"jsonrpc\":\"2.0\", \"id\" : 12345678901234567890123,\r\n\"method\":\"ping\",\"_meta\":{\"b\":1.0,\"a\":\"\\u003c\"}} ]";
    let headers = [
        ("content-type", "application/json"),
        ("mcp-session-id", "s-1"),
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-param-region", "=?base64?ZXU=?="),
        ("last-event-id", "7"),
        ("traceparent", "00-1"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    let answer = relay.ask(request("POST", &format!("{CLOCK}?a=b%20c"), &headers, body)).await;
    assert_eq!(answer.text(), "{}");
    let seen = fake.seen().pop().expect("it arrived");
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/mcp?a=b%20c"));
    // Seen to fail: with the body read and written anew.
    assert_eq!(seen.body, body);
    for (name, value) in headers {
        assert!(seen.headers.get_all(name).iter().any(|found| found == value), "{name}");
    }
    assert_eq!(seen.headers.get_all("x-twice").iter().count(), 2);
    assert_eq!(seen.headers["host"], "10.0.0.5:7777");
}

// Seen to fail: with `cookie` taken out of the lists of both halves.
#[tokio::test(start_paused = true)]
async fn no_secret_and_nothing_of_a_connection_arrives() {
    let fake = Fake::plain();
    let (relay, _agent) = clock(&fake).await;
    let headers = [
        ("x-nfrx-key", "alpha"),
        ("authorization", "Bearer of-the-caller"),
        ("cookie", "a=b"),
        ("x-user-roles", "admin"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("proxy-authorization", "x"),
        ("connection", "x-hop, mcp-session-id"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("nfrx-error", "timeout"),
        ("expect", "100-continue"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip"),
    ];
    let answer = relay.ask(request("POST", CLOCK, &headers, "{}")).await;
    assert_eq!(answer.status(), 200);
    let seen = fake.seen().pop().expect("it arrived");
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "content-length", "host", "x-request-id"]);
}

#[tokio::test(start_paused = true)]
async fn every_status_passes_with_its_headers() {
    for (status, body) in [
        (202, ""),
        (204, ""),
        (400, "no"),
        (403, "no"),
        (404, "no"),
        (405, ""),
        (409, "no"),
        (429, "no"),
        (500, "broken"),
        (502, "x"),
    ] {
        let (relay, _agent, _) = answered(
            status,
            &[("allow", "POST"), ("retry-after", "7"), ("x-odd", "1"), ("x-odd", "2")],
            body,
        )
        .await;
        let answer = relay.ask(post("{}")).await;
        assert_eq!((answer.status().as_u16(), answer.text().as_str()), (status, body));
        assert_eq!((header(&answer, "allow"), header(&answer, "retry-after")), ("POST", "7"));
        assert_eq!(answer.head.headers().get_all("x-odd").iter().count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_speaks_not_for_the_relays_address() {
    let headers = &[
        ("set-cookie", "a=b"),
        ("location", "http://10.0.0.5:7777/elsewhere"),
        ("access-control-allow-origin", "*"),
        ("strict-transport-security", "max-age=1"),
        ("clear-site-data", "\"*\""),
        ("nfrx-error", "timeout"),
        ("x-request-id", "theirs"),
        ("mcp-session-id", "s-1"),
    ];
    let (relay, _agent, _) = answered(200, headers, "{}").await;
    let answer = relay.ask(request("POST", CLOCK, &[("x-request-id", "mine")], "{}")).await;
    for gone in [
        "set-cookie",
        "location",
        "access-control-allow-origin",
        "strict-transport-security",
        "clear-site-data",
        "nfrx-error",
    ] {
        assert_eq!(header(&answer, gone), "", "{gone}");
    }
    assert_eq!((header(&answer, "mcp-session-id"), header(&answer, "x-request-id")), ("s-1", "mine"));
}

#[tokio::test(start_paused = true)]
async fn a_head_comes_before_any_byte_of_its_body_and_each_piece_as_it_is_sent() {
    let (reply, feed) = Reply::fed(200, &[("content-type", "application/x-odd")]);
    let mut reply = Some(reply);
    let fake = Fake::new(move |_| reply.take().expect("asked once"));
    let (relay, _agent) = clock(&fake).await;
    let mut client = relay.client().await;
    let answer = patiently(client.send(post("{}"))).await.expect("the head comes alone");
    assert_eq!(answer.headers()["content-type"], "application/x-odd");
    let mut body = answer.into_body();
    for text in ["a", "bc", "def"] {
        feed.send(Bytes::from(text)).await.expect("it is read");
        assert_eq!(piece(&mut body).await.expect("more").expect("good"), text);
    }
    drop(feed);
    assert!(piece(&mut body).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn fifty_megabytes_pass_both_ways() {
    let long = Bytes::from((0..50 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let sent = long.clone();
    let fake =
        Fake::new(move |_| Reply::new(200, &[("content-type", "application/octet-stream")], sent.clone()));
    let relay = relay(config(&[("max_req_bytes", "60000000")]));
    let _agent = Plan::new("clock").join(&relay.entrance(), &fake).await;
    let answer = relay.ask(request("POST", CLOCK, POSTED, long.clone())).await;
    assert!(answer.body == long, "{} bytes came", answer.body.len());
    assert!(fake.seen().pop().expect("it arrived").body == long);
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_413_and_never_reaches_the_server() {
    let fake = Fake::plain();
    let relay = relay(config(&[("max_req_bytes", "1000")]));
    let _agent = Plan::new("clock").join(&relay.entrance(), &fake).await;
    let answer = relay.ask(post(vec![b' '; 1001])).await;
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.json()["error"]["data"]["mcp"], "MCP_LIMIT_EXCEEDED");
    assert!(fake.seen().is_empty());
    assert_eq!(relay.ask(post(vec![b' '; 1000])).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn only_the_methods_of_the_protocol_and_paths_of_the_server_are_served() {
    let fake = Fake::plain();
    let (relay, _agent) = clock(&fake).await;
    for method in ["PUT", "HEAD", "OPTIONS", "PATCH"] {
        let answer = relay.ask(request(method, CLOCK, &[], "")).await;
        assert_eq!(answer.status(), 405, "{method}");
        assert_eq!(answer.head.headers().get_all("allow").iter().count(), 3);
    }
    for path in ["/api/mcp/id/clock/", "/api/mcp/id/clock/x", "/api/mcp/id/", "/api/mcp/id/other"] {
        assert_eq!(relay.ask(request("POST", path, &[], "{}")).await.status(), 404, "{path}");
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn paths_below_a_server_pass_where_its_agent_says_so() {
    let fake = Fake::plain();
    let relay = relay(config(&[]));
    let _agent = Plan::new("a b/c").with("mcp_subpaths", "true").join(&relay.entrance(), &fake).await;
    let answer = relay.ask(request("GET", "/api/mcp/id/a%20b%2Fc/x%20y/z?q=1", &[], "")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(fake.seen().pop().expect("it arrived").target, "/mcp/x%20y/z?q=1");
    // What another reader could take for a way out stays out.
    for odd in ["x/%2e%2e/y", "x%2f..%2fy", "x%5cy", "x%252fy"] {
        let answer = relay.ask(request("GET", &format!("/api/mcp/id/a%20b%2Fc/{odd}"), &[], "")).await;
        assert!(matches!(answer.status().as_u16(), 403 | 404), "{odd}: {}", answer.status());
    }
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_within_the_server_is_followed_with_method_and_body() {
    let fake = Fake::new(|seen| match seen.target.as_str() {
        "/mcp/" => Reply::new(307, &[("location", "/mcp")], ""),
        "/mcp" if seen.method == "POST" => Reply::json(seen.body.clone()),
        _ => Reply::new(302, &[("location", "http://elsewhere/")], ""),
    });
    let relay = relay(config(&[]));
    let _agent = Plan::new("clock")
        .with("provider_url", "http://10.0.0.5:7777/mcp/")
        .join(&relay.entrance(), &fake)
        .await;
    let body = r#"{"id":1,"method":"ping"}"#;
    let answer = relay.ask(post(body)).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, body));
    // Any other redirect is the server's answer, but names no place.
    let answer = relay.ask(request("GET", CLOCK, &[], "")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (302, ""));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_passes_as_it_comes() {
    let (reply, feed) = Reply::events();
    let mut reply = Some(reply);
    let fake = Fake::new(move |_| reply.take().expect("asked once"));
    let (relay, _agent) = clock(&fake).await;
    let mut client = relay.client().await;
    feed.send(Bytes::from("id: 1\ndata: \n\n")).await.expect("there is room");
    let headers = [POSTED, &[("accept-encoding", "gzip, br")]].concat();
    let asked = client.send(request("POST", CLOCK, &headers, "{}"));
    let answer = patiently(asked).await.expect("an answer");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    // Seen to fail: with `Accept-Encoding` passed on.
    assert!(!fake.seen()[0].headers.contains_key("accept-encoding"), "nobody is to code a stream");
    assert!(!answer.headers().contains_key("content-encoding"), "and nobody does");
    let mut body = answer.into_body();
    let text = read(&mut body, "id: 1\ndata: \n\n".len()).await;
    assert!(text.trim_start_matches(":\n\n") == "id: 1\ndata: \n\n", "{text:?}");
    drop(feed);
    assert!(body.frame().await.is_none());
}
