//! A plugin with one route for each thing that a handler can do.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use nfrx_spi::metrics::{Counter, Family};
use nfrx_spi::{
    Access, ApiError, ArgSpec, ArgType, Body, BodyError, BoxFuture, CallError, Dialect, Login, LoginRefused,
    MetricsError, MetricsRegistry, Moment, OptionError, PickError, PickedWorker, Plugin, PluginContext,
    PluginDescriptor, PluginFactory, PluginStatus, RequestContext, Router, Scheduler, StateElement,
    StateRegistry, Upgrade, WorkerProvider, WorkerRef,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};

/// What a test sees of the plugin, and says to it.
#[derive(Default)]
pub(crate) struct Wires {
    /// Handlers of `/slow` end, and streams of `/stream` go on, when this is told.
    pub(crate) go: Notify,
    /// How many requests a handler of `/slow` holds.
    pub(crate) held: watch::Sender<usize>,
    /// The hooks that were called, in order.
    pub(crate) hooks: watch::Sender<Vec<&'static str>>,
}

impl Wires {
    fn hook(&self, name: &'static str) {
        self.hooks.send_modify(|hooks| hooks.push(name));
    }

    /// Waits until `/slow` holds this many requests.
    pub(crate) async fn held(&self, count: usize) {
        let mut held = self.held.subscribe();
        held.wait_for(|now| *now == count).await.expect("the sender is ours");
    }
}

/// Builds the plugin under `id`.
pub(crate) struct Fake {
    pub(crate) id: &'static str,
    pub(crate) wires: Arc<Wires>,
}

struct FakePlugin {
    id: &'static str,
    wires: Arc<Wires>,
    context: PluginContext,
    calls: Arc<Family<Counter, 1>>,
}

fn descriptor(id: &'static str) -> PluginDescriptor {
    let size = ArgSpec::new("size", ArgType::Int, "a size").default("7");
    let pin = ArgSpec::new("pin", ArgType::String, "a secret").default("hunter2").secret();
    PluginDescriptor { id, name: "Fake", summary: "for tests", args: vec![size, pin] }
}

impl PluginFactory for Fake {
    fn descriptor(&self) -> PluginDescriptor {
        descriptor(self.id)
    }

    fn build(&self, context: PluginContext) -> Result<Arc<dyn Plugin>, OptionError> {
        if context.plugin_options.int("size")? < 0 {
            let (option, expected) = ("size".to_owned(), "must not be negative".to_owned());
            return Err(OptionError { option, expected, found: "-1".to_owned() });
        }
        let calls = Arc::new(Family::new("fake_calls_total", "calls", ["route"], 4, Counter::default));
        Ok(Arc::new(FakePlugin { id: self.id, wires: Arc::clone(&self.wires), context, calls }))
    }
}

impl Plugin for FakePlugin {
    fn id(&self) -> &'static str {
        self.id
    }

    fn descriptor(&self) -> PluginDescriptor {
        descriptor(if self.id == "two-faced" { "fake" } else { self.id })
    }

    fn workers(&self) -> Option<&dyn WorkerProvider> {
        Some(self)
    }

    fn register_routes(&self, router: &mut Router) {
        router.route("/v1", |v1| {
            v1.guard();
            v1.post("/echo", echo).body_bytes_max(1000);
            v1.get("/seen/{name}", seen);
            v1.get("/panic", |_: Request<Body>, _: RequestContext| async { panic!("on purpose") });
            let wires = Arc::clone(&self.wires);
            v1.get("/slow", move |_: Request<Body>, _: RequestContext| slow(Arc::clone(&wires)));
            let wires = Arc::clone(&self.wires);
            v1.get("/stream", move |_: Request<Body>, _: RequestContext| stream_of(Arc::clone(&wires)));
            v1.get("/endless", |_: Request<Body>, _: RequestContext| async { Ok(endless()) });
            v1.get("/broken", |_: Request<Body>, _: RequestContext| async { Ok(broken()) });
        });
        router.post("/openai", echo).dialect(Dialect::OpenAi).body_bytes_max(10);
        router.get("/either", seen).access(Access::Either);
        router.post("/admin", seen).access(Access::Admin);
        router.post("/own", own).access(Access::Plugin).own_pages_only();
        router.delete("/own", own).access(Access::Plugin).own_pages_only();
        let spawner = Arc::clone(&self.context.spawner);
        let connect = move |request: Request<Body>, _: RequestContext| {
            let spawner = Arc::clone(&spawner);
            async move { connect(request, &*spawner) }
        };
        router.get("/connect", connect).access(Access::Worker).dialect(Dialect::Text);
        let calls = Arc::clone(&self.calls);
        calls.with(["/open"]).inc();
        router.get("/open", seen).access(Access::Open);
    }

    fn register_metrics(&self, metrics: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        metrics.register(Arc::clone(&self.calls) as _)
    }

    fn register_state(&self, state: &mut dyn StateRegistry) {
        state.add(Box::new(Part(self.id)));
    }

    fn start(&self) {
        self.wires.hook("start");
        self.context.state.set_status(PluginStatus::Ready);
    }

    fn drain(&self) {
        self.wires.hook("drain");
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.wires.hook("stop");
        Box::pin(std::future::ready(()))
    }
}

/// One worker, for whom `free` is free, `busy/one` is not, and nothing else is known.
struct OneWorker;

impl Scheduler for OneWorker {
    fn pick_worker(&self, label: &str) -> Result<PickedWorker, PickError> {
        match label {
            "free" => Ok(PickedWorker::new(Arc::new(Self), ())),
            "busy/one" => Err(PickError::Busy),
            _ => Err(PickError::UnknownLabel),
        }
    }
}

impl WorkerRef for OneWorker {
    fn id(&self) -> &str {
        "one"
    }

    fn name(&self) -> &str {
        "One"
    }

    fn last_heartbeat(&self) -> Moment {
        Moment::default()
    }

    fn preferred_batch_size(&self) -> u32 {
        0
    }

    fn in_flight(&self) -> u32 {
        0
    }

    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        unreachable!("nobody sends it anything")
    }
}

impl WorkerProvider for FakePlugin {
    fn scheduler(&self) -> Arc<dyn Scheduler> {
        Arc::new(OneWorker)
    }
}

struct Part(&'static str);

impl StateElement for Part {
    fn id(&self) -> &'static str {
        self.0
    }

    fn data(&self) -> Value {
        json!({ "workers": [], "name": "<script>\n" })
    }

    fn html(&self) -> Option<String> {
        Some("<p>fake</p>".to_owned())
    }
}

/// Gives the body back.
async fn echo(request: Request<Body>, _: RequestContext) -> Result<Response<Body>, ApiError> {
    match request.into_body().collect().await {
        Ok(body) => Ok(Response::new(body.to_bytes().into())),
        Err(_) => Err(ApiError::BadRequest("bad request".to_owned())),
    }
}

/// Says what reached the handler.
async fn seen(request: Request<Body>, context: RequestContext) -> Result<Response<Body>, ApiError> {
    let headers: Vec<_> = request.headers().keys().map(|name| name.as_str().to_owned()).collect();
    let told = json!({
        "id": context.id.as_str(), "key": context.caller.key.as_deref(), "headers": headers,
        "name": context.params.get("name"), "admin": context.caller.scopes.admin,
    });
    Ok(Response::new(told.to_string().into()))
}

/// Judges by itself: `gamma` is its own key. Says how the server's login saw the caller.
async fn own(request: Request<Body>, _: RequestContext) -> Result<Response<Body>, ApiError> {
    let headers = request.headers();
    let login = request.extensions().get::<Login>().expect("the route's access gives one").clone();
    let is_own = headers.get("authorization").is_some_and(|value| value == "Bearer gamma");
    if matches!(login, Login::Refused(_)) && !is_own {
        let mut response = Response::new(Body::from("not by me\n"));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response.extensions_mut().insert(LoginRefused);
        return Ok(response);
    }
    let names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    let login = match login {
        Login::Key => "key",
        Login::Role => "role",
        Login::Open => "open",
        Login::Refused(_) => "refused",
    };
    Ok(Response::new(json!({ "login": login, "headers": names }).to_string().into()))
}

/// Holds the request until it is told to go on.
async fn slow(wires: Arc<Wires>) -> Result<Response<Body>, ApiError> {
    struct Held(Arc<Wires>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.held.send_modify(|held| *held -= 1);
        }
    }
    let go = wires.go.notified();
    wires.held.send_modify(|held| *held += 1);
    let held = Held(Arc::clone(&wires));
    go.await;
    drop(held);
    Ok(Response::new("done".into()))
}

/// One chunk at once, the other when it is told.
async fn stream_of(wires: Arc<Wires>) -> Result<Response<Body>, ApiError> {
    let frames = stream::unfold((0, wires), |(at, wires)| async move {
        match at {
            0 => Some((frame("one "), (1, wires))),
            1 => {
                wires.go.notified().await;
                Some((frame("two"), (2, wires)))
            }
            _ => None,
        }
    });
    Ok(Response::new(Body::stream(StreamBody::new(Box::pin(frames)))))
}

fn frame(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Chunks without end, as fast as they are taken.
fn endless() -> Response<Body> {
    let frames = stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![b'x'; 16 * 1024]))));
    Response::new(Body::stream(StreamBody::new(frames)))
}

/// Breaks off after its first chunk.
fn broken() -> Response<Body> {
    let frames = stream::iter([frame("half"), Err(BodyError::Upstream)]);
    Response::new(Body::stream(StreamBody::new(frames)))
}

/// Takes the connection over and gives back what comes.
fn connect(mut request: Request<Body>, spawner: &dyn nfrx_spi::Spawner) -> Result<Response<Body>, ApiError> {
    let upgrade = request.extensions_mut().remove::<Upgrade>();
    let upgrade = upgrade.ok_or_else(|| ApiError::BadRequest("no upgrade".to_owned()))?;
    let echo = async move {
        let mut stream = upgrade.stream().await.expect("a 101 was sent");
        let mut bytes = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut bytes).await {
            stream.write_all(&bytes[..length]).await.expect("the client reads");
        }
    };
    spawner.spawn("echo", Box::pin(echo));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in [("connection", "upgrade"), ("upgrade", "echo")] {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    Ok(response)
}
