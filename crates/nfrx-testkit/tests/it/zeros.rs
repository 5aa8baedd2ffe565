//! What counts refusals is served before the first one: an alert on growth needs the zero
//! that it grows from, else it misses the first.

use nfrx_testkit::http::get;
use nfrx_testkit::relay::{API_KEY, Relay, config};

/// The series of a family, without its name, and whether all of them are zero.
async fn series(relay: &Relay, family: &str) -> (Vec<String>, bool) {
    let text = relay.ask(get("/metrics", Some(API_KEY))).await.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(family)?.rsplit_once(' '));
    let (mut names, mut are_zero) = (Vec::new(), true);
    for (name, value) in lines {
        names.push(name.replace('"', ""));
        are_zero &= value == "0";
    }
    (names, are_zero)
}

#[tokio::test(start_paused = true)]
async fn refusals_are_served_as_zero_before_the_first() {
    let relay = Relay::start(config(&[]));
    // Seen to fail: for each family, without its series at the start.
    for (family, expected) in [
        (
            "nfrx_server_refused_total",
            "body_bytes body_silence connections connections_per_address draining head_bytes head_time \
             http2_flood http2_streams idle key_tunnels login login_rate malformed origin sessions uri_bytes \
             watchers write_stall",
        ),
        (
            "nfrx_tunnel_closed_total",
            "agent_left broken disconnected expired flood message_bytes protocol_error refused replaced server_stopping \
             unauthorized unregistered",
        ),
        ("nfrx_asr_spool_refused_total", "full too_large"),
    ] {
        let expected: Vec<_> =
            expected.split_whitespace().map(|reason| format!("{{reason={reason}}}")).collect();
        assert_eq!(series(&relay, family).await, (expected, true), "{family}");
    }
    let pools = ["asr", "docling", "llm"];
    let reasons = ["no_worker", "queue_full", "waited_too_long"];
    let queues = pools.iter().flat_map(|ext| reasons.map(|reason| format!("{{ext={ext},reason={reason}}}")));
    assert_eq!(series(&relay, "nfrx_queue_refused_total").await, (queues.collect(), true));
}
