//! What a plugin does in a server.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use nfrx_runtime::Drain;
use nfrx_spi::{Access, Body, BoxFuture, CallError, Heartbeat, Plugin, PluginFactory, Route, Secret};
use nfrx_tunnel::{
    AgentService, Identity, LinkConfig, LinkParts, LinkState, Offer, ServerUrl, keep_connected,
};
use tokio::sync::watch;

use super::{HOSTILE, declared};
use crate::http::get;
use crate::pipe::PipeOptions;
use crate::relay::{API_KEY, Dialer, Relay, WORKER_KEY, config, patiently};

pub(super) async fn violations(factory: Box<dyn PluginFactory>) -> Vec<String> {
    let descriptor = factory.descriptor();
    let plugin: Option<Arc<dyn Plugin>> = factory.build(declared::context(&descriptor)).ok();
    let (id, routes) =
        (descriptor.id, plugin.map(|plugin| declared::routes_of(&*plugin)).unwrap_or_default());
    let relay = Relay::with(config(&[]), vec![factory]);
    let mut found = Vec::new();
    for route in &routes {
        strangers(&relay, route, &mut found).await;
    }
    let agents = Drain::new();
    if takes_agents(id, &routes) {
        join(&relay, id, &agents).await;
    }
    shown(&relay, id, &mut found).await;
    relay.stop();
    for route in routes.iter().filter(|route| route.drains) {
        refused_while_draining(&relay, route, &mut found).await;
    }
    agents.cut();
    relay.ended().await;
    found
}

/// Without a key, only open routes do anything.
async fn strangers(relay: &Relay, route: &Route, found: &mut Vec<String>) {
    let answer = relay.ask(request(route, None)).await;
    let refused = matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if route.access != Access::Open && !refused {
        let (method, pattern, status) = (&route.method, &route.pattern, answer.status());
        found.push(format!("{method} {pattern} answers strangers with {status}"));
    }
}

/// A draining server hands nothing new to a plugin: it says so, or has closed already.
async fn refused_while_draining(relay: &Relay, route: &Route, found: &mut Vec<String>) {
    let mut client = relay.client().await;
    if let Ok(answer) = patiently(client.ask(request(route, Some(API_KEY)))).await
        && answer.status() != StatusCode::SERVICE_UNAVAILABLE
    {
        let (method, pattern, status) = (&route.method, &route.pattern, answer.status());
        found.push(format!("{method} {pattern} answers {status} while the server drains"));
    }
}

/// The state names what agents say, as data; the view must not.
async fn shown(relay: &Relay, id: &str, found: &mut Vec<String>) {
    let envelope = relay.ask(get("/api/state", Some(API_KEY))).await.json();
    if !envelope["plugins"].is_object() {
        found.push("the state is no JSON any more".to_owned());
    }
    let view = relay.ask(get(&format!("/api/state/view/{id}.html"), Some(API_KEY))).await;
    if !matches!(view.status(), StatusCode::OK | StatusCode::NO_CONTENT) {
        found.push(format!("its view answers {}", view.status()));
    }
    if view.text().contains(HOSTILE) {
        found.push("its view holds what an agent said, unescaped".to_owned());
    }
}

fn takes_agents(id: &str, routes: &[Route]) -> bool {
    let connect = format!("/api/{id}/connect");
    routes.iter().any(|route| {
        route.method == Method::GET && route.pattern == connect && route.access == Access::Worker
    })
}

/// A request that fits the route's pattern.
fn request(route: &Route, key: Option<&str>) -> Request<Bytes> {
    let segments =
        route.pattern.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment });
    let path = segments.collect::<Vec<_>>().join("/");
    let mut request = get(&path, key);
    *request.method_mut() = route.method.clone();
    request
}

/// Nobody asks it for anything.
struct Idle;

impl AgentService for Idle {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<http::Response<Body>, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Refused)))
    }
}

/// Connects an agent whose every word is hostile, and waits until it is welcomed or
/// refused: a plugin may have names of its own for agents.
async fn join(relay: &Relay, id: &str, agents: &Drain) {
    let hostile = || HOSTILE.to_owned();
    let offer = Offer {
        models: vec![hostile()],
        max_concurrency: 1,
        agent_config: [("hostname".to_owned(), hostile())].into(),
        ..Offer::default()
    };
    let link = LinkConfig {
        url: ServerUrl::parse(&format!("ws://localhost/api/{id}/connect")).expect("an address"),
        connect: Arc::new(Dialer::new(&relay.entrance(), PipeOptions::default())),
        key: Some(Secret::new(WORKER_KEY)),
        identity: Identity { worker_id: hostile(), worker_name: hostile(), ..Identity::default() },
        reconnect: false,
    };
    let (offer, offers) = watch::channel(offer);
    let (state, mut states) = watch::channel(LinkState::Connecting);
    let heartbeat = Arc::new(Heartbeat::default);
    let parts = LinkParts { offer: offers, service: Arc::new(Idle), heartbeat, drain: agents.watch(), state };
    agents.spawn("hostile agent", async move {
        let _offer = offer;
        // How it ends is the server's matter.
        let _ = keep_connected(link, parts).await;
    });
    let told = |state: &LinkState| !matches!(state, LinkState::Connecting);
    // An error means that the link has ended: it was refused.
    let _ = patiently(states.wait_for(told)).await;
}
