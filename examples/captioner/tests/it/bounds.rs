//! The plugin's own bounds: each has a status and is counted.

use nfrx_captioner::agent::Style;
use nfrx_captioner::draw::Drawing;
use nfrx_testkit::http::{get, post};
use nfrx_testkit::relay::{API_KEY, Relay};
use serde_json::json;

use crate::world::{Agent, many, one, pictures, relay};

async fn metrics(relay: &Relay) -> String {
    relay.ask(get("/metrics", Some(API_KEY))).await.text()
}

#[tokio::test(start_paused = true)]
async fn more_pictures_than_allowed_are_refused_and_counted() {
    let relay = relay(&[("pictures_max", "3")]);
    let _den = Agent::join(&relay, "den", &Style::ALL, 8).await;
    assert_eq!(relay.ask(many("short", &pictures(3))).await.status(), 200);
    let over = relay.ask(many("short", &pictures(4))).await;
    assert_eq!(over.status(), 400);
    assert_eq!(over.json()["error"]["message"], "there are 4 pictures in `images`, 3 at most");
    assert_eq!(relay.ask(many("short", &[])).await.status(), 400);
    let metrics = metrics(&relay).await;
    assert!(metrics.contains(r#"nfrx_captioner_refused_total{reason="pictures"} 1"#), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_picture_over_its_limit_is_refused_by_the_route() {
    let relay = relay(&[("picture_bytes_max", "1000")]);
    let _den = Agent::join(&relay, "den", &Style::ALL, 8).await;
    let over = relay.ask(one("", Drawing::plain(20, 20, [200, 30, 30]).to_ppm())).await;
    assert_eq!((over.status().as_u16(), &over.json()["error"]["code"]), (413, &json!("too_large")));
    let metrics = metrics(&relay).await;
    assert!(metrics.contains(r#"nfrx_server_refused_total{reason="body_bytes"} 1"#), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_list_needs_the_batch_key_where_there_is_one() {
    let relay = relay(&[("batch_key", "hunter2")]);
    let _den = Agent::join(&relay, "den", &Style::ALL, 8).await;
    for (shown, status) in [(None, 403), (Some("hunter"), 403), (Some("hunter2"), 200)] {
        let mut request = many("short", &pictures(3));
        if let Some(key) = shown {
            request.headers_mut().insert("x-batch-key", key.try_into().expect("a header"));
        }
        // Seen to fail: when every key is right.
        assert_eq!(relay.ask(request).await.status(), status, "{shown:?}");
    }
    assert_eq!(relay.ask(one("", pictures(1).remove(0))).await.status(), 200, "one picture needs none");
    let metrics = metrics(&relay).await;
    assert!(metrics.contains(r#"nfrx_captioner_refused_total{reason="batch_key"} 2"#), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_refused_with_its_reason() {
    let relay = relay(&[]);
    for (body, said) in [
        (json!([]), "invalid length 0"),
        (json!({}), "missing field `images`"),
        (json!({ "images": [], "stile": "short" }), "unknown field `stile`"),
    ] {
        let answer = relay.ask(post("/api/captioner/v1/captions", Some(API_KEY), &body)).await;
        assert_eq!(answer.status(), 400, "{body}");
        assert!(answer.text().contains(said), "{body}: {}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_style_that_no_worker_offers_is_no_metric_label() {
    let relay = relay(&[]);
    let _den = Agent::join(&relay, "den", &[Style::Short], 8).await;
    for request in [one("?style=nobodys", pictures(1).remove(0)), many("nobodys", &pictures(3))] {
        assert_eq!(relay.ask(request).await.status(), 404);
    }
    let metrics = metrics(&relay).await;
    // Seen to fail: with the client's text for a label.
    assert!(!metrics.contains("nobodys"), "{metrics}");
}
