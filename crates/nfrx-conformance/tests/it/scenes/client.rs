//! A client that reads whatever comes, so that a scene can go on meanwhile.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use nfrx_testkit::http::HttpClient;
use nfrx_testkit::relay::{Relay, patiently};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A client under way. Dropped, it hangs up.
pub(super) struct Client {
    seen: watch::Receiver<Seen>,
    _task: JoinSet<()>,
}

/// What has come so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// 0 until the head is there.
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether the end was clean, once it is there.
    pub(super) ended: Option<bool>,
}

impl Client {
    pub(super) async fn send(relay: &Relay, request: Request<Bytes>) -> Self {
        let client = relay.client().await;
        let (told, seen) = watch::channel(Seen::default());
        let mut task = JoinSet::new();
        task.spawn(follow(client, request, told));
        Self { seen, _task: task }
    }

    pub(super) async fn until(&mut self, reached: impl FnMut(&Seen) -> bool) -> Seen {
        patiently(self.seen.wait_for(reached)).await.expect("the task keeps it").clone()
    }

    /// The answer at its end.
    pub(super) async fn end(&mut self) -> Seen {
        self.until(|seen| seen.ended.is_some()).await
    }
}

async fn follow(mut client: HttpClient, request: Request<Bytes>, told: watch::Sender<Seen>) {
    let clean = async {
        let answer = client.send(request).await.ok()?;
        told.send_modify(|seen| {
            (seen.status, seen.headers) = (answer.status().as_u16(), answer.headers().clone());
        });
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let data = frame.ok()?.into_data().unwrap_or_default();
            told.send_modify(|seen| seen.body.extend(data));
        }
        Some(())
    };
    let clean = clean.await.is_some();
    told.send_modify(|seen| seen.ended = Some(clean));
    told.closed().await;
}
