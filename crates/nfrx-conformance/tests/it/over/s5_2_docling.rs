//! HTTP contract §5.2: conversions.

use nfrx_testkit::relay::{Kind, Relay, config};

use super::CARRIER;
use crate::world::{World, header, is_json, is_text, request};

async fn world() -> World {
    World::new(CARRIER, Kind::Docling, 1, &[]).await
}

#[tokio::test(start_paused = true)]
async fn both_paths_have_the_same_at_the_backend_whatever_the_type() {
    let mut world = world().await;
    for (path, kind, body) in [
        ("/v1/convert/file", "multipart/form-data; boundary=b", "--b--\r\n"),
        ("/v1/convert/source", "application/json", "{ \"sources\" : [] }"),
        ("/v1/convert/source", "text/plain", "anything"),
    ] {
        let headers =
            [("content-type", kind), ("x-anything", "1"), ("cookie", "a=b"), ("x-request-id", "r-1")];
        let answer = world
            .answered(request("POST", &format!("/api/docling{path}"), &headers, body), |asked| {
                assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", path));
                assert_eq!((asked.header("content-type"), asked.body.as_ref()), (kind, body.as_bytes()));
                assert_eq!((asked.header("x-anything"), asked.header("x-request-id")), ("1", "r-1"));
                assert_eq!((asked.header("cookie"), asked.header("authorization")), ("", ""));
                assert_eq!(asked.header("cache-control"), "no-store");
                asked.answer(200, &[("content-type", "application/json"), ("cache-control", "public")], "{}");
            })
            .await;
        assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
        assert_eq!(header(&answer, "cache-control"), "public");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_worker_it_is_503_in_text() {
    let relay = Relay::start(config(&[]));
    for path in ["/api/docling/v1/convert/file", "/api/docling/v1/convert/source"] {
        is_text(&relay.ask(request("POST", path, &[], "{}")).await, 503, "no worker");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_head_is_502() {
    let mut world = world().await;
    let ask = request("POST", "/api/docling/v1/convert/source", &[], "{}");
    is_json(&world.answered(ask, drop).await, 502, "upstream_error");
}

#[tokio::test(start_paused = true)]
async fn there_are_no_models() {
    let world = world().await;
    for path in ["/api/docling/v1/models", "/api/docling/v1/models/m"] {
        is_text(&world.relay.ask(request("GET", path, &[], "")).await, 404, "404 page not found");
    }
}
