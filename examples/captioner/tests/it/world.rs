//! Relays with the captioner, agents for them, and what clients send.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use nfrx_agent::{AgentConfig, LocalConfig};
use nfrx_captioner::CaptionerFactory;
use nfrx_captioner::agent::{CaptionAgent, CaptionConfig, Style};
use nfrx_captioner::draw::Drawing;
use nfrx_runtime::Drain;
use nfrx_server::ServerConfig;
use nfrx_spi::{Heartbeat, PluginFactory, PluginOptions, Secret, WorkerStatus};
use nfrx_testkit::http::{Answer, post};
use nfrx_testkit::pipe::{PipeControl, PipeOptions};
use nfrx_testkit::relay::{API_KEY, Dialer, Relay, WORKER_KEY, patiently};
use nfrx_tunnel::{
    AgentService, Identity, LinkConfig, LinkParts, LinkState, Offer, ServerUrl, keep_connected,
};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

const CONNECT: &str = "ws://localhost/api/captioner/connect";

/// A server's configuration with these options of the captioner.
pub(crate) fn config(options: &[(&str, &str)]) -> ServerConfig {
    let mut config = nfrx_testkit::relay::config(&[]);
    let values = options.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned()));
    let options = PluginOptions::new(CaptionerFactory.descriptor().args, values.collect());
    config.plugin_options.insert("captioner".to_owned(), options);
    config
}

/// A relay that has the captioner only.
pub(crate) fn relay(options: &[(&str, &str)]) -> Relay {
    Relay::with(config(options), vec![Box::new(CaptionerFactory)])
}

/// A running agent. Dropping it kills it.
pub(crate) struct Agent {
    dialer: Dialer,
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

impl Agent {
    /// Starts an agent that takes one request at once, and waits until it is welcomed.
    pub(crate) async fn join(relay: &Relay, id: &str, styles: &[Style], batch_size: u32) -> Self {
        let common = AgentConfig {
            server_url: CONNECT.to_owned(),
            client_key: Some(Secret::new(WORKER_KEY)),
            worker_id: id.to_owned(),
            worker_name: format!("<b>{id}</b>"),
            max_concurrency: 1,
            request_timeout: None,
            drain_timeout: None,
            reconnect: false,
            local: LocalConfig::default(),
        };
        let own = CaptionConfig { styles: styles.to_vec(), batch_size };
        let dialer = Dialer::new(&relay.entrance(), PipeOptions::default());
        let agent = CaptionAgent::new(common, own).expect("a valid address");
        let agent = agent.with_connect(Arc::new(dialer.clone()));
        let (stop, stopped) = oneshot::channel();
        let (state, mut task) = (agent.state(), JoinSet::new());
        task.spawn(async move {
            let stop = async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            // How it ended is what the relay sees.
            let _ = agent.run(stop).await;
        });
        welcomed(state).await;
        Self { dialer, stop, task }
    }

    /// The pipe to the server, which is at its right end.
    pub(crate) fn tunnel(&self) -> PipeControl {
        self.dialer.made().pop().expect("the agent has dialed")
    }

    /// Stops it as a signal does and waits for its end.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.send(());
        patiently(self.task.join_next()).await.expect("it ran").expect("no panic");
    }
}

/// Starts an agent with another service behind its tunnel, for the style `short`; it runs
/// until the drain given back is cut or dropped with the runtime.
pub(crate) async fn impostor(relay: &Relay, id: &str, service: impl AgentService) -> Drain {
    let drain = Drain::new();
    let link = LinkConfig {
        url: ServerUrl::parse(CONNECT).expect("a valid address"),
        connect: Arc::new(Dialer::new(&relay.entrance(), PipeOptions::default())),
        key: Some(Secret::new(WORKER_KEY)),
        identity: Identity { worker_id: id.to_owned(), ..Identity::default() },
        reconnect: false,
    };
    let offer = Offer {
        models: vec!["short".to_owned()],
        max_concurrency: 4,
        status: WorkerStatus::Idle,
        agent_config: [("embedding_batch_size".to_owned(), "1".to_owned())].into(),
    };
    let (offer, offers) = watch::channel(offer);
    let state = watch::Sender::new(LinkState::Connecting);
    let states = state.subscribe();
    let parts = LinkParts {
        offer: offers,
        service: Arc::new(service),
        heartbeat: Arc::new(Heartbeat::default),
        drain: drain.watch(),
        state,
    };
    drain.spawn("impostor", async move {
        let _offer = offer;
        let _ = keep_connected(link, parts).await;
    });
    welcomed(states).await;
    drain
}

async fn welcomed(mut state: watch::Receiver<LinkState>) {
    let connected = state.wait_for(|state| matches!(state, LinkState::Connected { .. }));
    patiently(connected).await.expect("the agent runs");
}

/// A request to caption one picture.
pub(crate) fn one(query: &str, picture: Vec<u8>) -> Request<Bytes> {
    let mut request = post(&format!("/api/captioner/v1/caption{query}"), Some(API_KEY), &Value::Null);
    *request.body_mut() = picture.into();
    request
}

/// A request to caption many.
pub(crate) fn many(style: &str, pictures: &[Vec<u8>]) -> Request<Bytes> {
    let images: Vec<_> = pictures.iter().map(|picture| BASE64_STANDARD.encode(picture)).collect();
    post("/api/captioner/v1/captions", Some(API_KEY), &json!({ "style": style, "images": images }))
}

/// Pictures of which no two have the same caption in the style `long`.
pub(crate) fn pictures(count: u32) -> Vec<Vec<u8>> {
    (1..=count).map(|nth| Drawing::plain(nth, 3, [200, 30, 30]).to_ppm()).collect()
}

/// Fails unless these are the captions of [`pictures`], in order.
#[track_caller]
pub(crate) fn assert_in_order(answer: &Answer, count: usize) {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let json = answer.json();
    let captions = json["captions"].as_array().expect("a list");
    assert_eq!(captions.len(), count);
    for (nth, outcome) in (1..).zip(captions) {
        let caption = outcome["caption"].as_str().expect("a caption");
        // Seen to fail: when chunks are put together in the order in which they end.
        assert!(caption.contains(&format!(" of {nth} by 3 pixels")), "at place {nth}: {caption}");
    }
}

/// How many requests a worker of the state has had, and has.
pub(crate) fn worker<'a>(state: &'a Value, id: &str) -> Option<&'a Value> {
    state["workers"].as_array()?.iter().find(|worker| worker["id"] == id)
}
