use nfrx_spi::{Access, ApiError, Body, HandlerResult, RequestContext, Router};

use super::*;

async fn nothing(_: http::Request<Body>, _: RequestContext) -> HandlerResult {
    Err(ApiError::NotFound)
}

fn table() -> Table {
    let mut router = Router::new("echo", "/api/echo");
    router.get("", nothing);
    router.get("/", nothing);
    router.route("/v1", |v1| {
        v1.guard();
        v1.get("/models", nothing);
        v1.post("/models", nothing);
        v1.get("/models/{id}", nothing);
        v1.post("/files/{*rest}", nothing);
    });
    router.route("/id/{worker}/v1", |v1| {
        v1.guard();
        v1.get("/models/{model}", nothing);
    });
    let (routes, guards) = router.into_parts();
    Table::new(routes, guards).expect("no overlap")
}

/// What is found, in short: the pattern with its parameters, the allowed methods, or
/// nothing; `!` when a guard judges it first.
fn find(method: &str, path: &str) -> String {
    let table = table();
    let method = method.parse().expect("a method");
    let judged = |guard: Option<&Guard>| if guard.is_some() { "!" } else { "" };
    match table.find(&method, path) {
        Found::Route(route, params) => {
            let names = ["id", "rest", "worker", "model"];
            let params: Vec<_> =
                names.into_iter().map(|name| params.get(name)).filter(|v| !v.is_empty()).collect();
            format!("{} {}", route.pattern, params.join(",")).trim_end().to_owned()
        }
        Found::OtherMethod(methods, guard) => format!("{}{methods:?}", judged(guard)),
        Found::Nothing(guard) => format!("{}nothing", judged(guard)),
    }
}

#[test]
fn a_path_finds_its_pattern_and_parameters() {
    assert_eq!(find("GET", "/api/echo"), "/api/echo");
    assert_eq!(find("GET", "/api/echo/"), "/api/echo/");
    assert_eq!(find("GET", "/api/echo/v1/models/a%2Fb"), "/api/echo/v1/models/{id} a/b");
    assert_eq!(find("POST", "/api/echo/v1/files/a/b"), "/api/echo/v1/files/{*rest} a/b");
    assert_eq!(
        find("GET", "/api/echo/id/w%201/v1/models/m"),
        "/api/echo/id/{worker}/v1/models/{model} w 1,m"
    );
}

#[test]
fn below_a_guard_nothing_is_found_without_being_judged() {
    assert_eq!(find("GET", "/api/echo/v1/models/"), "!nothing");
    assert_eq!(find("PUT", "/api/echo/v1/models"), "![GET, POST]");
    assert_eq!(find("GET", "/api/echo/id/w/v1/nope"), "!nothing");
    // Seen to fail: with the guard looked up for plain paths only.
    assert_eq!(find("GET", "/api/echo/v1/%2e%2e/x"), "!nothing");
    assert_eq!(find("HEAD", "/api/echo"), "[GET]");
    assert_eq!(find("GET", "/api/echo/foo"), "nothing");
}

#[test]
fn odd_paths_match_nothing() {
    for path in
        ["//api/echo", "/api//echo", "/api/./echo", "/x/../api/echo", "/api/%65cho", "/api%2Fecho", "*", ""]
    {
        assert_eq!(find("GET", path), "nothing", "{path}");
    }
}

#[test]
fn an_overlap_stops_the_start_and_names_both() {
    let mut routes = Vec::new();
    for (plugin, pattern) in [("one", "/v1/models/{id}"), ("two", "/v1/models/{model}")] {
        let mut router = Router::new(plugin, "");
        router.get(pattern, nothing).access(Access::Open);
        routes.append(&mut router.into_parts().0);
    }
    let error = Table::new(routes, Vec::new()).err().expect("both claim the path").to_string();
    assert_eq!(error, "`GET /v1/models/{model}` is claimed by plugin `one` and by plugin `two`");
}
