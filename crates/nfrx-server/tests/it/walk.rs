//! Every route of the server and of the fake plugin, asked without a key, with a wrong
//! one and with the other side's: nobody gets in who should not.

use std::sync::Arc;

use http::Method;
use nfrx_spi::{Access, PluginFactory as _, Router};

use crate::fake::{Fake, Wires};
use crate::world::{REMOTE, World, request, with_keys};

/// The server's own routes with their access. A new one must be added here: the test
/// below compares with the state of the table.
const OWN: &[(&str, &str, Access)] = &[
    ("GET", "/healthz", Access::Open),
    ("GET", "/readyz", Access::Open),
    ("GET", "/state", Access::Open),
    ("GET", "/assets/state.js", Access::Open),
    ("GET", "/api/client", Access::Open),
    ("GET", "/api/client/", Access::Open),
    ("GET", "/api/client/openapi.json", Access::Open),
    ("GET", "/api/client/api.js", Access::Open),
    ("GET", "/api/client/api.css", Access::Open),
    ("GET", "/api/state/session", Access::Open),
    ("POST", "/api/state/session", Access::Open),
    ("DELETE", "/api/state/session", Access::Open),
    ("GET", "/assets/state.css", Access::Open),
    ("GET", "/metrics", Access::Client),
    ("POST", "/metrics", Access::Client),
    ("GET", "/api/state", Access::Client),
    ("GET", "/api/state/stream", Access::Client),
    ("GET", "/api/state/view/fake.html", Access::Client),
    ("GET", "/api/state/descriptors", Access::Client),
    ("GET", "/api/state/options", Access::Client),
    ("GET", "/api/fake", Access::Client),
    ("GET", "/api/fake/", Access::Client),
];

/// The plugin's routes, from the list the server itself compiles.
fn plugin_routes() -> Vec<(Method, String, Access)> {
    let fake = Fake { id: "fake", wires: Arc::new(Wires::default()) };
    let drain = nfrx_runtime::Drain::new();
    let context = nfrx_spi::PluginContext {
        options: Arc::default(),
        plugin_options: nfrx_spi::PluginOptions::new(fake.descriptor().args, Default::default()),
        spawner: Arc::new(drain),
        state: Arc::new(NoState),
        clock: Arc::new(nfrx_runtime::TokioClock::new()),
        build: nfrx_runtime::build_info(),
        shared: nfrx_spi::Shared::default(),
    };
    let plugin = fake.build(context).expect("valid options");
    let mut router = Router::new("fake", "/api/fake");
    plugin.register_routes(&mut router);
    let routes = router.into_parts().0.into_iter();
    routes.map(|route| (route.method, route.pattern.replace("{name}", "x"), route.access)).collect()
}

struct NoState;

impl nfrx_spi::ServerState for NoState {
    fn is_draining(&self) -> bool {
        false
    }

    fn draining(&self) -> nfrx_spi::BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn set_status(&self, _: nfrx_spi::PluginStatus) {}
}

/// Whether this key may pass a route of this access.
fn may(access: Access, key: &str) -> bool {
    match access {
        Access::Open | Access::Plugin => true,
        Access::Client => matches!(key, "alpha" | "root"),
        Access::Worker => key == "beta",
        Access::Either => matches!(key, "alpha" | "beta" | "root"),
        Access::Admin => key == "root",
    }
}

#[tokio::test(start_paused = true)]
async fn no_route_answers_who_may_not_ask() {
    let world = World::new(with_keys());
    let own = OWN
        .iter()
        .map(|(method, path, access)| (method.parse().expect("a method"), (*path).to_owned(), *access));
    let routes: Vec<(Method, String, Access)> = own.chain(plugin_routes()).collect();
    assert!(routes.len() > 20, "the list is made from the table");
    for (method, path, access) in routes {
        for key in ["", "wrong", "alpha", "beta", "root"] {
            if may(access, key) {
                continue;
            }
            let bearer = format!("Bearer {key}");
            let mut headers = vec![("connection", "upgrade"), ("upgrade", "echo")];
            if !key.is_empty() {
                headers.push(("authorization", bearer.as_str()));
            }
            // Each from an address of its own, so that no limit of failures answers first.
            let peer = format!("203.0.113.{}:1", fastrand::u8(1..250));
            let answer = world.ask(&peer, request(method.as_str(), &path, &headers, "")).await;
            let status = answer.status().as_u16();
            // Seen to fail: with the gate answering `Worker` like `Either`.
            assert!(matches!(status, 401 | 403 | 429), "{method} {path} with `{key}`: {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn odd_spellings_of_a_path_open_nothing() {
    let world = World::new(with_keys());
    for path in [
        "//api/fake/v1/seen/x",
        "/api//fake/v1/seen/x",
        "/api/fake/open/../v1/seen/x",
        "/api/fake/%2e%2e/fake/v1/seen/x",
        "/api/fake%2fv1/seen/x",
        "/api/fake/v1%5cseen/x",
        "/API/fake/v1/seen/x",
        "/api/state/",
        "/api/state;x",
    ] {
        let answer = world.ask(REMOTE, request("GET", path, &[], "")).await;
        assert!(matches!(answer.status().as_u16(), 401 | 404), "{path}: {}", answer.status());
    }
    let answer = world.ask(REMOTE, request("GET", "/api/fake/v1/nope", &[], "")).await;
    assert_eq!(answer.status(), 401, "below a guard a stranger learns nothing");
    let known = [("authorization", "Bearer alpha")];
    let answer = world.ask(REMOTE, request("GET", "/api/fake/v1/nope", &known, "")).await;
    assert_eq!(answer.status(), 404);
    let answer = world.ask(REMOTE, request("PUT", "/api/fake/v1/echo", &known, "")).await;
    assert_eq!(answer.status(), 405);
}
