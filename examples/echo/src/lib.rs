//! A plugin from outside the workspace: it sends what a client says to one agent, named
//! in the path, and the agent says it back.
//!
//! It has no pool: an agent is known by its id and nothing else, as a private web server
//! behind a relay is. It shows the parts of the SPI that a plugin with interchangeable
//! workers does not use: access per route, an upgrade, a mount, an intake of its own.

mod agents;

use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode, Uri};
use nfrx_spi::{
    Access, ApiError, Body, BoxFuture, CloseReason, HandlerResult, OptionError, Plugin, PluginContext,
    PluginDescriptor, PluginFactory, RequestContext, Router, Spawner, StateElement, StateRegistry, Upgrade,
};
use nfrx_tunnel::Acceptor;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use agents::Agents;

const ID: &str = "echo";

fn descriptor() -> PluginDescriptor {
    PluginDescriptor { id: ID, name: "Echo", summary: "Says back what it is told", args: Vec::new() }
}

/// The protocol that `/api/echo/socket` switches to: every byte comes back.
const SOCKET_PROTOCOL: &str = "nfrx-echo";

/// Lists the plugin in a binary.
pub struct EchoFactory;

impl PluginFactory for EchoFactory {
    fn descriptor(&self) -> PluginDescriptor {
        descriptor()
    }

    fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
        let agents = Arc::new(Agents::default());
        let acceptor = Acceptor::for_plugin(&context, Arc::clone(&agents) as _);
        Ok(Arc::new(Echo { agents, acceptor: Arc::new(acceptor), spawner: context.spawner }))
    }
}

struct Echo {
    agents: Arc<Agents>,
    acceptor: Arc<Acceptor>,
    spawner: Arc<dyn Spawner>,
}

impl Plugin for Echo {
    fn id(&self) -> &'static str {
        ID
    }

    fn descriptor(&self) -> PluginDescriptor {
        descriptor()
    }

    fn register_routes(&self, router: &mut Router) {
        router.get("/hello", hello).access(Access::Open);
        router.post("/say", say);
        let agents = Arc::clone(&self.agents);
        router.post("/id/{id}/{*path}", move |request, context| relay(Arc::clone(&agents), request, context));
        let agents = Arc::clone(&self.agents);
        router.get("/agents", move |_, _| list(Arc::clone(&agents))).access(Access::Admin);
        let spawner = Arc::clone(&self.spawner);
        router.get("/socket", move |request, _| socket(Arc::clone(&spawner), request));
        let acceptor = Arc::clone(&self.acceptor);
        router
            .get("/connect", move |request, context| std::future::ready(acceptor.upgrade(request, context)))
            .access(Access::Worker);
        router.mount("/echo", |root| {
            root.post("/say", say);
        });
    }

    fn register_state(&self, state: &mut dyn StateRegistry) {
        state.add(Box::new(EchoState(Arc::clone(&self.agents))));
    }

    fn drain(&self) {
        self.agents.for_each(|tunnel| tunnel.drain());
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.agents.for_each(|tunnel| tunnel.close(CloseReason::ServerStopping));
        Box::pin(std::future::ready(()))
    }
}

async fn hello(_: Request<Body>, _: RequestContext) -> HandlerResult {
    Ok(Response::new(Body::from("hello\n")))
}

/// The request's body is the answer's: it streams back as it comes.
async fn say(request: Request<Body>, _: RequestContext) -> HandlerResult {
    Ok(Response::new(request.into_body()))
}

/// Passes the request on to the agent it names, and the answer back, both as streams.
async fn relay(agents: Arc<Agents>, request: Request<Body>, context: RequestContext) -> HandlerResult {
    let tunnel = agents.find(context.params.get("id")).ok_or(ApiError::NoWorker)?;
    let (parts, body) = request.into_parts();
    let path = format!("/{}", context.params.get("path"));
    let mut call = Request::new(body);
    *call.method_mut() = parts.method;
    *call.uri_mut() =
        Uri::try_from(path).map_err(|_| ApiError::BadRequest("the path can't be read".into()))?;
    tunnel.call(call).await.map_err(|error| {
        tracing::warn!(%error, "an agent failed");
        ApiError::UpstreamError
    })
}

async fn list(agents: Arc<Agents>) -> HandlerResult {
    Ok(Response::new(Body::from(json!(agents.ids()).to_string())))
}

/// Switches protocols and says every byte back.
async fn socket(spawner: Arc<dyn Spawner>, mut request: Request<Body>) -> HandlerResult {
    let upgrade = request
        .extensions_mut()
        .remove::<Upgrade>()
        .ok_or_else(|| ApiError::BadRequest(format!("ask for `Upgrade: {SOCKET_PROTOCOL}`")))?;
    let echo = async move {
        let Ok(mut io) = upgrade.stream().await else { return };
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = io.read(&mut bytes).await {
            if io.write_all(&bytes[..length]).await.is_err() || io.flush().await.is_err() {
                return;
            }
        }
    };
    spawner.spawn("echo socket", Box::pin(echo));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(SOCKET_PROTOCOL));
    Ok(response)
}

struct EchoState(Arc<Agents>);

impl StateElement for EchoState {
    fn id(&self) -> &'static str {
        ID
    }

    fn data(&self) -> serde_json::Value {
        json!({ "agents": self.0.ids() })
    }
}
