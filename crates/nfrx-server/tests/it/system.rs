//! The server's own routes.

use std::time::Duration;

use http_body_util::BodyExt as _;
use nfrx_server::{PluginChoice, Server, ServerConfig, StartError};
use nfrx_spi::{ArgSpec, ArgType, PluginOptions};
use serde_json::json;
use tokio::time::Instant;

use crate::client::get;
use crate::fake::{Fake, Wires};
use crate::world::{LOCAL, REMOTE, World, fakes, header, request, with_keys};

#[tokio::test(start_paused = true)]
async fn a_watcher_gets_a_snapshot_at_once_and_one_every_two_seconds() {
    let world = World::new(ServerConfig::local());
    let mut client = world.client(LOCAL).await;
    let start = Instant::now();
    let answer = client.send(get("/api/state/stream", None)).await.expect("a head");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    for second in [0, 2, 4] {
        let frame = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        assert_eq!(start.elapsed().as_secs(), second);
        let text = String::from_utf8(frame.to_vec()).expect("text");
        let json = text.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("one event");
        assert!(!json.contains('\n'), "one line");
        let state: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(state["plugins"]["fake"]["name"], "<script>\n");
        assert_eq!(state["plugins"]["server"]["drainable_inflight"], 0);
    }
}

/// Reads the next event of a stream of the state.
async fn event(body: &mut hyper::body::Incoming) -> Option<serde_json::Value> {
    let frame = body.frame().await?.expect("no error").into_data().expect("data");
    let json = frame.strip_prefix(b"data: ").and_then(|rest| rest.strip_suffix(b"\n\n"));
    Some(serde_json::from_slice(json.expect("one event")).expect("JSON"))
}

#[tokio::test(start_paused = true)]
async fn a_watcher_hears_of_news_within_half_a_second_and_not_sooner() {
    let world = World::new(ServerConfig::local());
    let mut client = world.client(LOCAL).await;
    let start = Instant::now();
    let mut body = client.send(get("/api/state/stream", None)).await.expect("a head").into_body();
    event(&mut body).await.expect("a snapshot");
    let (mut other, wires) = (world.client(LOCAL).await, world.wires.clone());
    let slow = crate::world::spawn(async move { other.ask(get("/api/fake/v1/slow", None)).await });
    wires.held(1).await;
    let news = event(&mut body).await.expect("news");
    assert_eq!(news["plugins"]["server"]["drainable_inflight"], 1);
    // Seen to fail: with every look told, and with the heartbeat alone.
    assert_eq!(start.elapsed(), Duration::from_millis(500));
    wires.go.notify_one();
    slow.await.expect("no panic").expect("an answer");
    let news = event(&mut body).await.expect("news");
    assert_eq!(
        (&news["plugins"]["server"]["drainable_inflight"], start.elapsed().as_millis()),
        (&json!(0), 1000)
    );
    event(&mut body).await.expect("a sign of life");
    assert_eq!(start.elapsed().as_millis(), 3000);
}

#[tokio::test(start_paused = true)]
async fn one_watcher_too_many_is_told_to_come_back() {
    let world = World::new(ServerConfig::local());
    let mut watching = Vec::new();
    for _ in 0..64 {
        let mut client = world.client(LOCAL).await;
        let mut body = client.send(get("/api/state/stream", None)).await.expect("a head").into_body();
        event(&mut body).await.expect("a snapshot");
        watching.push((client, body));
    }
    let refused = world.ask(LOCAL, get("/api/state/stream", None)).await;
    assert_eq!(
        (refused.status().as_u16(), refused.text().as_str()),
        (503, r#"{"error":"too_many_watchers"}"#)
    );
    assert_eq!(header(&refused, "retry-after"), "10");
    let metrics = world.ask(LOCAL, get("/metrics", None)).await.text();
    assert!(metrics.contains("nfrx_server_refused_total{reason=\"watchers\"} 1\n"), "{metrics}");
    assert!(metrics.contains("nfrx_server_state_watchers 64\n"), "{metrics}");
    drop(watching.pop());
    let room = async {
        while world.client(LOCAL).await.send(get("/api/state/stream", None)).await.expect("a head").status()
            != 200
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // Seen to fail: without the place's drop.
    tokio::time::timeout(Duration::from_secs(60), room).await.expect("who leaves makes room");
}

#[tokio::test(start_paused = true)]
async fn options_are_shown_and_nothing_of_a_secret_is() {
    let world = World::new(ServerConfig::local());
    let groups = world.ask(LOCAL, get("/api/state/options", None)).await;
    assert_eq!((&groups.json()[0]["id"], &groups.json()[1]["id"]), (&json!("server"), &json!("fake")));
    assert_eq!(groups.json()[1]["options"], json!({ "size": "7", "pin": "********" }));
    assert_eq!(groups.json()[1]["args"][0]["ID"], "size");
}

#[tokio::test(start_paused = true)]
async fn state_descriptors_views_and_roots_keep_the_contracts_shapes() {
    let world = World::new(ServerConfig::local());
    let ask = async |path: &str| world.ask(LOCAL, get(path, None)).await;
    let state = ask("/api/state").await;
    assert!(state.text().starts_with(r#"{"plugins":{"fake":{"#) && state.text().ends_with("}\n"));
    let descriptors = ask("/api/state/descriptors").await.json();
    assert_eq!(
        (&descriptors["fake"]["ID"], &descriptors["fake"]["Args"][0]["Default"]),
        (&json!("fake"), &json!("7"))
    );
    assert_eq!(ask("/api/state/view/fake.html").await.text(), "<p>fake</p>");
    let nothing = ask("/api/state/view/other.html").await;
    assert_eq!((nothing.status().as_u16(), nothing.body.len()), (204, 0));
    assert_eq!(ask("/api/state/view/fake").await.status(), 404);
    for path in ["/api/fake", "/api/fake/"] {
        let root = ask(path).await;
        assert_eq!(root.json()["options"], json!({ "size": "7", "pin": "h*****2" }));
        assert_eq!((&root.json()["id"], &root.json()["args"][1]["ID"]), (&json!("fake"), &json!("pin")));
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_are_for_private_peers_and_key_holders() {
    let world = World::new(with_keys());
    let relayed = request("GET", "/metrics", &[("x-forwarded-for", "8.8.8.8")], "");
    // Seen to fail: with any private peer let in, a proxy among them.
    assert_eq!(world.ask("10.1.2.3:1", relayed).await.status(), 401);
    let rebound = || request("GET", "/metrics", &[("host", "evil.example")], "");
    // Seen to fail: without the look at the host.
    assert_eq!(world.ask(LOCAL, rebound()).await.status(), 401);
    assert_eq!(world.ask("10.1.2.3:1", rebound()).await.status(), 200);
    for (peer, key, status) in [
        (LOCAL, None, 200),
        ("10.1.2.3:1", None, 200),
        (REMOTE, None, 401),
        (REMOTE, Some("beta"), 401),
        (REMOTE, Some("alpha"), 200),
    ] {
        let answer = world.ask(peer, get("/metrics", key)).await;
        assert_eq!(answer.status().as_u16(), status, "{peer} {key:?}");
        if status == 200 {
            assert_eq!(header(&answer, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
            let text = answer.text();
            assert!(
                text.contains("# TYPE fake_calls_total counter\nfake_calls_total{route=\"/open\"} 1\n"),
                "{text}"
            );
            assert!(text.contains("nfrx_server_build_info{component=\"server\",date=\"unknown\""), "{text}");
            assert!(text.contains("nfrx_server_connections 1\n"), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_is_code_without_data_under_a_strict_policy() {
    let world = World::new(with_keys());
    let pages = [
        ("/state", "text/html"),
        ("/assets/state.js", "text/javascript"),
        ("/assets/state.css", "text/css"),
        ("/assets/icon.svg", "image/svg+xml"),
    ];
    for (path, kind) in pages {
        let answer = world.ask(REMOTE, get(path, None)).await;
        assert!(answer.status() == 200 && header(&answer, "content-type").starts_with(kind), "{path}");
        let policy = header(&answer, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
    let page = world.ask(REMOTE, get("/state", None)).await.text();
    assert!(!page.contains("onclick") && !page.contains("<script>") && !page.contains("http"));
    let root = world.ask(REMOTE, get("/", None)).await;
    assert_eq!((root.status().as_u16(), header(&root, "location")), (302, "/state"));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_not_chosen_is_not_there() {
    let plugins = PluginChoice::Named(vec!["unknown".to_owned()]);
    let world = World::new(ServerConfig { plugins, ..ServerConfig::local() });
    assert_eq!(world.ask(LOCAL, get("/api/fake", None)).await.status(), 404);
    let descriptors = world.ask(LOCAL, get("/api/state/descriptors", None)).await.json();
    assert_eq!(descriptors["fake"]["ID"], "fake");
    let ready = world.ask(LOCAL, get("/readyz", None)).await;
    assert_eq!(
        (ready.status().as_u16(), ready.text().as_str()),
        (503, r#"{"status":"not_ready","plugins":{}}"#)
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_makes_no_sense_is_refused_with_the_plugins_name() {
    let wires = std::sync::Arc::<Wires>::default();
    let start = |config, factories| Server::in_memory(config, factories).err().map(|error| error.to_string());
    let mut config = ServerConfig::local();
    let size = ArgSpec::new("size", ArgType::Int, "");
    let values = [("size".to_owned(), "-1".to_owned())].into();
    config.plugin_options.insert("fake".to_owned(), PluginOptions::new(vec![size], values));
    assert_eq!(start(config, fakes(&wires)).as_deref(), Some("plugin `fake` does not start"));
    let mut twice = fakes(&wires);
    twice.append(&mut fakes(&wires));
    assert!(start(ServerConfig::local(), twice).is_some_and(|error| error.contains("`fake` is taken")));
    let mut same_metrics = fakes(&wires);
    same_metrics.push(Box::new(Fake { id: "other", wires: wires.clone() }));
    let error = Server::in_memory(ServerConfig::local(), same_metrics).err();
    assert!(matches!(error, Some(StartError::Metrics { plugin: "other", .. })), "{error:?}");
    let two_faced = vec![Box::new(Fake { id: "two-faced", wires }) as _];
    // Seen to fail: without the comparison of both descriptions.
    assert!(start(ServerConfig::local(), two_faced).is_some_and(|error| error.contains("`two-faced`")));
}

#[tokio::test(start_paused = true)]
async fn a_label_is_ready_when_a_worker_would_take_it_now() {
    let world = World::new(with_keys());
    let ask = async |label: &str, key| world.ask(REMOTE, get(&format!("/api/fake/ready/{label}"), key)).await;
    let ready = ask("free", Some("alpha")).await;
    assert_eq!((ready.status().as_u16(), ready.json()), (200, json!({ "label": "free", "ready": true })));
    let busy = ask("busy/one", Some("alpha")).await;
    assert_eq!((busy.status().as_u16(), header(&busy, "retry-after")), (503, "1"));
    assert_eq!(ask("unknown", Some("alpha")).await.status(), 404);
    // Seen to fail: with access for anybody.
    for key in [None, Some("beta")] {
        assert_eq!(ask("free", key).await.status(), 401);
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_is_the_plugins_own() {
    let world = World::new(ServerConfig::local());
    let ready = world.ask(LOCAL, get("/readyz", None)).await;
    assert_eq!((ready.status().as_u16(), &ready.json()["plugins"]["fake"]), (200, &json!("ready")));
    tokio::time::sleep(Duration::from_millis(600)).await;
    let state = world.ask(LOCAL, get("/api/state", None)).await.json();
    assert_eq!(state["plugins"]["server"]["status"]["fake"], "ready");
}

#[tokio::test(start_paused = true)]
async fn the_document_of_the_api_is_for_all_and_its_page_loads_nothing_from_elsewhere() {
    let world = World::new(with_keys());
    let document = world.ask(REMOTE, get("/api/client/openapi.json", None)).await;
    assert_eq!((document.status().as_u16(), header(&document, "content-type")), (200, "application/json"));
    let document = document.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/fake/v1/echo"]["post"].is_object());
    for path in ["/api/client", "/api/client/", "/api/client/anything"] {
        let page = world.ask(REMOTE, get(path, None)).await;
        assert_eq!(
            (page.status().as_u16(), header(&page, "content-type")),
            (200, "text/html; charset=utf-8")
        );
        let policy = header(&page, "content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
        assert!(!page.text().contains("://"), "nothing of another host");
    }
    for asset in ["/api/client/api.js", "/api/client/api.css"] {
        let asset = world.ask(REMOTE, get(asset, None)).await;
        assert!(!asset.text().contains("://") && !asset.text().contains("innerHTML"));
    }
}
