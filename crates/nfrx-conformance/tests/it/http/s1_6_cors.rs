//! HTTP contract §1.6: pages of other origins.

use http::header::VARY;
use nfrx_testkit::http::Answer;
use nfrx_testkit::relay::{Relay, config};

use crate::world::{header, relay, request};

fn relay_for(origins: &[&str]) -> Relay {
    let mut config = config(&[]);
    config.origin.allowed_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    Relay::start(config)
}

fn vary(answer: &Answer) -> Vec<&str> {
    answer.head.headers().get_all(VARY).iter().filter_map(|value| value.to_str().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn without_allowed_origins_nothing_is_said_and_options_is_405() {
    let relay = relay();
    let answer = relay.ask(request("GET", "/healthz", &[("origin", "https://app.test")], "")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "access-control-allow-origin")), (200, ""));
    let headers = [("origin", "http://relay.test"), ("access-control-request-method", "GET")];
    assert_eq!(relay.ask(request("OPTIONS", "/healthz", &headers, "")).await.status(), 405);
}

#[tokio::test(start_paused = true)]
async fn an_allowed_origin_is_echoed_and_every_answer_varies() {
    for (allowed, origin, expected) in [
        (&["https://app.test"][..], "https://app.test", "https://app.test"),
        (&["https://app.test"], "HTTPS://App.Test", "HTTPS://App.Test"),
        (&["https://app.test"], "https://app.test:8443", ""),
        (&["https://app.test"], "https://evil.test", ""),
        (&["https://*.app.test"], "https://a.b.app.test", "https://a.b.app.test"),
        (&["https://*.app.test"], "https://app.test", ""),
        (&["https://a.test", "https://b.test"], "https://b.test", "https://b.test"),
        (&["*"], "https://any.test", "*"),
        (&["https://app.test"], "", ""),
    ] {
        let relay = relay_for(allowed);
        for path in ["/healthz", "/nope", "/api/state"] {
            let mut ask = request("GET", path, &[], "");
            if !origin.is_empty() {
                ask.headers_mut().insert("origin", origin.parse().expect("a value"));
            }
            let answer = relay.ask(ask).await;
            assert_eq!(
                header(&answer, "access-control-allow-origin"),
                expected,
                "{allowed:?} {origin} {path}"
            );
            assert_eq!(vary(&answer), ["Origin"], "{path}");
            assert_eq!(header(&answer, "access-control-allow-credentials"), "");
            assert_eq!(header(&answer, "access-control-expose-headers"), "");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_preflight_is_200_without_a_login_and_without_a_body() {
    let relay = relay_for(&["https://app.test"]);
    for (path, origin, method, allowed) in [
        ("/api/llm/v1/chat/completions", "https://app.test", "POST", true),
        ("/api/llm/v1/models", "https://app.test", "GET", true),
        ("/api/nope", "https://app.test", "OPTIONS", true),
        ("/api/llm/v1/models", "https://app.test", "PATCH", false),
        ("/api/llm/v1/models", "https://evil.test", "GET", false),
    ] {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "content-type,x-request-id"),
        ];
        let mut ask = request("OPTIONS", path, &headers, "");
        ask.headers_mut().remove("authorization");
        let answer = relay.ask(ask).await;
        assert_eq!((answer.status().as_u16(), answer.body.len()), (200, 0), "{method} {path}");
        let mut names = vary(&answer);
        names.sort_unstable();
        assert_eq!(names, ["Access-Control-Request-Headers", "Access-Control-Request-Method", "Origin"]);
        let said = |name: &str| header(&answer, name).to_owned();
        assert_eq!(
            said("access-control-allow-methods"),
            if allowed { method } else { "" },
            "{method} {path}"
        );
        let named = if allowed { "Content-Type, X-Request-Id" } else { "" };
        assert_eq!(said("access-control-allow-headers"), named, "{method} {path}");
        assert_eq!(said("access-control-max-age"), "");
    }
    // Without the method that it asks for it is no preflight.
    assert_eq!(
        relay.ask(request("OPTIONS", "/healthz", &[("origin", "https://app.test")], "")).await.status(),
        405
    );
}
