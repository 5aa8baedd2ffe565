//! How a server ends.

use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::world::{World, chat, chat_stream, json as read_json};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_stopped_server_finishes_what_it_accepted_and_takes_nothing_new() {
    let mut world = World::demo().await;
    let mut client = world.client().await;
    let (release, released) = oneshot::channel::<()>();
    let rest = futures_util::stream::once(async move {
        released.await.unwrap();
        Ok(Frame::data(chat(json!({})).to_string().into()))
    });
    let response = client.send(Request::post(CHAT).body(StreamBody::new(rest).boxed_unsync()).unwrap());
    world.sim.wait_until(|stats| stats.started == 1).await;
    world.stop.cancel();
    while TcpStream::connect(world.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    let response = response.await.unwrap();
    // Seen to fail: when connections are not told of the drain.
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(read_json(response).await.0, 200);
    world.server.join_next().await.unwrap().unwrap();
    assert_eq!(world.sim.finished(), 1);
}

#[tokio::test]
async fn a_stopped_server_cuts_what_does_not_end() {
    let mut world = World::demo().await;
    let mut client = world.client().await;
    let response = client.post(CHAT, &chat_stream(json!({"x_sim_stall_after": 1}))).await;
    world.stop.cancel();
    // Seen to fail: without the cut this waits for ever.
    world.server.join_next().await.unwrap().unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!((world.sim.cancelled(), world.sim.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let world = World::demo().await;
    let mut client = world.client().await;
    for _ in 0..3 {
        assert_eq!(read_json(client.post(CHAT, &chat(json!({}))).await).await.0, 200);
    }
    assert_eq!((world.sim.finished(), world.sim.stats().requests), (3, 3));
}
