//! Workers that vanish, stall or lie, and clients that leave.

use http::{Request, Response};
use nfrx_captioner::agent::Style;
use nfrx_captioner::draw::Drawing;
use nfrx_spi::{Body, BoxFuture, CallError};
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::{LOCAL, Relay, patiently};
use nfrx_tunnel::AgentService;
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{Agent, assert_in_order, impostor, many, one, pictures, relay, worker};

fn picture() -> Vec<u8> {
    Drawing::plain(4, 4, [200, 30, 30]).to_ppm()
}

async fn idle(relay: &Relay) {
    relay.until_part("captioner", |state| state["server"]["jobs_inflight_total"] == 0).await;
}

async fn busy(relay: &Relay) {
    relay.until_part("captioner", |state| state["server"]["jobs_inflight_total"] == 1).await;
}

// Seen to fail: without the retry of a failed chunk.
#[tokio::test(start_paused = true)]
async fn a_worker_killed_midway_costs_no_caption_and_no_order() {
    let relay = relay(&[]);
    let den = Agent::join(&relay, "den", &[Style::Long], 5).await;
    let _attic = Agent::join(&relay, "attic", &[Style::Long], 5).await;
    den.tunnel().stall();
    let mut client = relay.client().await;
    let mut asking = JoinSet::new();
    asking.spawn(async move { client.ask(many("long", &pictures(40))).await.expect("an answer") });
    // All that is left is the chunk that the den sits on.
    relay
        .until_part("captioner", |state| {
            worker(state, "attic")
                .is_some_and(|attic| attic["processed_total"] == 7 && attic["inflight"] == 0)
                && worker(state, "den").is_some_and(|den| den["inflight"] == 1)
        })
        .await;
    den.tunnel().cut();
    drop(den);
    let answer = patiently(asking.join_next()).await.expect("it was asked").expect("no panic");
    assert_in_order(&answer, 40);
    idle(&relay).await;
}

#[tokio::test(start_paused = true)]
async fn the_worker_of_a_streamed_picture_is_lost_with_it() {
    let relay = relay(&[]);
    let den = Agent::join(&relay, "den", &Style::ALL, 8).await;
    den.tunnel().stall();
    let mut client = relay.client().await;
    let mut asking = JoinSet::new();
    asking.spawn(async move { client.ask(one("", picture())).await.expect("an answer") });
    busy(&relay).await;
    den.tunnel().cut();
    let answer = patiently(asking.join_next()).await.expect("it was asked").expect("no panic");
    assert_eq!((answer.status().as_u16(), &answer.json()["error"]["code"]), (502, &json!("upstream_error")));
}

// Seen to fail: when the picked worker is leaked.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_gives_its_worker_back() {
    let relay = relay(&[]);
    let _den = Agent::join(&relay, "den", &Style::ALL, 8).await;
    let slow = PipeOptions { bytes_per_second: Some(10_000), ..PipeOptions::default() };
    let (mut client, _pipe) = relay.client_over(slow, LOCAL).await;
    let mut asking = JoinSet::new();
    let large = Drawing::plain(1000, 1000, [200, 30, 30]).to_ppm();
    asking.spawn(async move { client.ask(one("", large)).await.map(drop) });
    busy(&relay).await;
    let refused = relay.ask(one("", picture())).await;
    assert_eq!((refused.status().as_u16(), &refused.json()["error"]["code"]), (503, &json!("worker_busy")));
    assert!(refused.head.headers().contains_key("retry-after"));
    asking.abort_all();
    idle(&relay).await;
    assert_eq!(relay.ask(one("", picture())).await.status(), 200);
}

/// Answers every request with this; `None`: never.
#[derive(Clone)]
struct Says(Option<(u16, String)>);

impl AgentService for Says {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let says = self.0.clone();
        Box::pin(async move {
            let Some((status, text)) = says else { return std::future::pending().await };
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status.try_into().expect("a status");
            response.headers_mut().insert("set-cookie", "a=b".try_into().expect("a header"));
            Ok(response)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_answers_nothing_is_given_up_though_it_shows_that_it_lives() {
    let relay = relay(&[("caption_timeout", "40s")]);
    let _mute = impostor(&relay, "mute", Says(None)).await;
    // Seen to fail: without the limit of one picture; without the limit of silence.
    for request in [one("", picture()), many("short", &pictures(1)), many("short", &pictures(3))] {
        let answer = relay.ask(request).await;
        assert_eq!((answer.status().as_u16(), &answer.json()["error"]["code"]), (504, &json!("timeout")));
    }
    idle(&relay).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_form_is_not_passed_on() {
    let caption = r#"{"caption":"fine"}"#;
    for (status, text) in [
        (200, String::new()),
        (200, "<script>".to_owned()),
        (200, r#"{"captions":[]}"#.to_owned()),
        (200, format!(r#"{{"captions":[{caption},{caption},{caption},{caption}]}}"#)),
        (200, format!(r#"{{"caption":"{}"}}"#, "x".repeat(1 << 20))),
        (500, caption.to_owned()),
        (500, format!(r#"{{"captions":[{caption}]}}"#)),
        (302, caption.to_owned()),
    ] {
        let relay = relay(&[]);
        let _liar = impostor(&relay, "liar", Says(Some((status, text.clone())))).await;
        for request in [one("", picture()), many("short", &pictures(1)), many("short", &pictures(3))] {
            let answer = relay.ask(request).await;
            // Seen to fail: when outcomes are not counted; when no status is looked at.
            assert_eq!(answer.status(), 502, "{status} {:.40}: {:.200}", text, answer.text());
            assert!(!answer.head.headers().contains_key("set-cookie"));
        }
        idle(&relay).await;
    }
}
