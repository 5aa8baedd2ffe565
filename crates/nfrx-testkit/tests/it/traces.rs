//! Traces, from a client's context to a collector: on real sockets, since the collector has
//! one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nfrx_server::{Sampling, ServerConfig, TracesConfig};
use nfrx_spi::Io;
use nfrx_testkit::relay::{AgentPlan, Carrier, Relay, config};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::ask::chat;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

/// Longer than an export takes on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A span as the collector read it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    start: u64,
    end: u64,
    texts: HashMap<String, String>,
    numbers: HashMap<String, u64>,
    failed: bool,
}

/// A collector: what it is sent, span by span.
struct Collector {
    spans: mpsc::Receiver<Seen>,
    endpoint: String,
    _task: JoinSet<()>,
}

impl Collector {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that speaks TLS, where there is a way to.
    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}/v1/traces", listener.local_addr().expect("it is bound"));
        let (to, spans) = mpsc::channel(1000);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let stream: Pin<Box<dyn Io>> = match &tls {
                    Some(tls) => match tls.accept(socket).await {
                        Ok(stream) => Box::pin(stream),
                        Err(_) => continue,
                    },
                    None => Box::pin(socket),
                };
                let to = to.clone();
                let take = service_fn(move |request| take(request, to.clone()));
                // How the connection ends is nothing to us.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), take).await;
            }
        });
        Self { spans, endpoint, _task: task }
    }

    fn config(&self) -> ServerConfig {
        let mut config = config(&[]);
        config.traces = Some(TracesConfig {
            endpoint: self.endpoint.parse().expect("an address"),
            headers: vec![("x-key".parse().expect("a name"), "k".parse().expect("a value"))],
            service: "test".to_owned(),
            sampling: Sampling { by_parent: true, share: 0.0 },
            certificates: None,
            takes_content: false,
        });
        config
    }

    /// The spans of one request, by name: the front door's is the last to end.
    async fn request(&mut self, wanted: usize) -> HashMap<String, Seen> {
        let mut spans = HashMap::new();
        while spans.len() < wanted {
            let next = tokio::time::timeout(PATIENCE, self.spans.recv()).await;
            let span = next.unwrap_or_else(|_| panic!("only these came: {spans:?}")).expect("a collector");
            assert_eq!(spans.insert(span.name.clone(), span), None, "each once");
        }
        spans
    }
}

fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/tls").join(name)
}

/// TLS with a certificate for 127.0.0.1.
fn tls() -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(tls_file("localhost.pem")).expect("a file");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(tls_file("localhost.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they fit");
    TlsAcceptor::from(Arc::new(config))
}

async fn take(request: Request<Incoming>, to: mpsc::Sender<Seen>) -> hyper::Result<Response<Full<Bytes>>> {
    assert!(request.uri().path() == "/v1/traces" && request.headers()["x-key"] == "k");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await?.to_bytes();
    for span in spans(&body) {
        to.send(span).await.expect("the test reads them");
    }
    Ok(Response::new(Full::default()))
}

/// All spans of an export.
fn spans(export: &[u8]) -> Vec<Seen> {
    let of_resources = fields(export).filter_map(|field| field.message(1));
    let of_scopes = of_resources.flat_map(fields).filter_map(|field| field.message(2));
    of_scopes.flat_map(fields).filter_map(|field| field.message(2)).map(seen).collect()
}

fn seen(span: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for field in fields(span) {
        match field {
            Field::Bytes(1, bytes) => seen.trace = hex(bytes),
            Field::Bytes(2, bytes) => seen.id = hex(bytes),
            Field::Bytes(4, bytes) => seen.parent = hex(bytes),
            Field::Bytes(5, bytes) => seen.name = String::from_utf8_lossy(bytes).into_owned(),
            Field::Number(6, kind) => seen.kind = kind,
            Field::Number(7, nanos) => seen.start = nanos,
            Field::Number(8, nanos) => seen.end = nanos,
            Field::Bytes(9, pair) => attribute(pair, &mut seen),
            Field::Bytes(15, status) => {
                seen.failed = fields(status).any(|field| field == Field::Number(3, 2))
            }
            other => panic!("no such field: {other:?}"),
        }
    }
    seen
}

fn attribute(pair: &[u8], to: &mut Seen) {
    let name = fields(pair).find_map(|field| field.message(1)).expect("a name");
    let name = String::from_utf8_lossy(name).into_owned();
    let value = fields(pair).find_map(|field| field.message(2)).expect("a value");
    match fields(value).next() {
        Some(Field::Bytes(1, text)) => {
            to.texts.insert(name, String::from_utf8_lossy(text).into_owned());
        }
        Some(Field::Number(3, number)) => {
            to.numbers.insert(name, number);
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// A field of protobuf, by its number.
#[derive(Debug, PartialEq)]
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

impl<'a> Field<'a> {
    fn message(self, wanted: u64) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(number, bytes) if number == wanted => Some(bytes),
            _ => None,
        }
    }
}

fn fields(mut message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        let tag = varint(&mut message);
        Some(match tag & 7 {
            0 => Field::Number(tag >> 3, varint(&mut message)),
            1 => {
                let (bytes, rest) = message.split_at(8);
                message = rest;
                Field::Number(tag >> 3, u64::from_le_bytes(bytes.try_into().expect("eight")))
            }
            2 => {
                let length = varint(&mut message) as usize;
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(tag >> 3, bytes)
            }
            other => panic!("no such type: {other}"),
        })
    })
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = message.split_first().expect("a whole number");
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// A chat request that is part of a trace, which its client records or not.
fn traced(members: &serde_json::Value, sampled: bool) -> Request<Bytes> {
    let mut request = chat(members);
    let flag = if sampled { "01" } else { "00" };
    let context = format!("00-{TRACE}-{CLIENT_SPAN}-{flag}");
    request.headers_mut().insert("traceparent", context.parse().expect("a value"));
    request.headers_mut().insert("tracestate", "vendor=1".parse().expect("a value"));
    request
}

// Seen to fail: with the agent's span as the backend's sibling, with the client's context
// taken for none, and with the agent saying nothing at the end.
#[tokio::test]
async fn a_collector_sees_all_five_spans_each_within_its_parent() {
    let mut collector = Collector::start().await;
    let relay = Relay::bind(collector.config()).await;
    let agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
    for stream in [true, false] {
        let members = json!({ "stream": stream, "x_sim_tokens": 5 });
        let answer = relay.ask(traced(&members, true)).await;
        assert_eq!(answer.status().as_u16(), 200, "{}", answer.text());
        let spans = collector.request(5).await;
        let mut parent = CLIENT_SPAN.to_owned();
        let chain = ["front door", "tunnel", "agent", "backend"];
        for (name, kind) in chain.into_iter().zip([2, 3, 2, 3]) {
            let span = &spans[name];
            assert_eq!(
                (&span.trace[..], &span.parent, span.kind),
                (TRACE, &parent, kind),
                "{name}: {spans:?}"
            );
            assert!(span.start > 0 && span.start <= span.end && !span.failed, "{name}: {span:?}");
            parent.clone_from(&span.id);
        }
        let within = |inner: &Seen, outer: &Seen| outer.start <= inner.start && inner.end <= outer.end;
        assert!(chain.windows(2).all(|pair| within(&spans[pair[1]], &spans[pair[0]])), "{spans:?}");
        assert_eq!((&spans["queue"].parent, spans["queue"].kind), (&spans["front door"].id, 1));
        let tunnel = &spans["tunnel"];
        assert_eq!(
            (&tunnel.texts["gen_ai.operation.name"][..], &tunnel.texts["gen_ai.request.model"][..]),
            ("chat", "demo")
        );
        assert_eq!(tunnel.texts["nfrx.worker.id"], "a");
        let context = context_at_backend(&agent);
        assert_eq!(context, Some(format!("00-{TRACE}-{}-01", spans["backend"].id)));
        let everything = format!("{spans:?}");
        assert!(!everything.contains("\"hi\""), "no prompt: {everything}");
    }
}

/// The context that the backend got last.
fn context_at_backend(agent: &nfrx_testkit::relay::TestAgent) -> Option<String> {
    let records = agent.sim().requests();
    let posts = records.iter().rev().filter(|record| record.method == http::Method::POST);
    posts.filter_map(|record| record.headers.get("traceparent")).next()?.to_str().ok().map(str::to_owned)
}

#[tokio::test]
async fn an_old_agent_gives_three_spans() {
    let mut collector = Collector::start().await;
    let relay = Relay::bind(collector.config()).await;
    let plan = AgentPlan { carrier: Carrier::V1, ..AgentPlan::new("a", 1) };
    let _agent = plan.join(&relay.entrance()).await;
    let answer = relay.ask(traced(&json!({ "stream": true }), true)).await;
    assert_eq!(answer.status().as_u16(), 200);
    let spans = collector.request(3).await;
    assert_eq!(spans["tunnel"].texts["nfrx.carrier"], "v1");
    assert_eq!(
        (&spans["queue"].parent, &spans["tunnel"].parent),
        (&spans["front door"].id, &spans["front door"].id)
    );
}

#[tokio::test]
async fn what_its_client_does_not_record_nobody_records_and_its_context_passes() {
    let mut collector = Collector::start().await;
    let relay = Relay::bind(collector.config()).await;
    let agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
    assert_eq!(relay.ask(traced(&json!({}), false)).await.status().as_u16(), 200);
    assert_eq!(context_at_backend(&agent), Some(format!("00-{TRACE}-{CLIENT_SPAN}-00")));
    // What is recorded comes in order: the next request's spans are the first that come.
    assert_eq!(relay.ask(traced(&json!({ "model": "nobody" }), true)).await.status().as_u16(), 404);
    let spans = collector.request(1).await;
    // Seen to fail: with every request recorded.
    assert_eq!(spans["front door"].numbers["http.response.status_code"], 404);
}

// Seen to fail: with the collector spoken to in the clear, and without the file of certificates.
#[tokio::test]
async fn a_collector_behind_tls_gets_spans_too() {
    let mut collector = Collector::start_with(Some(tls())).await;
    let mut config = collector.config();
    config.traces.as_mut().expect("there are traces").certificates = Some(tls_file("authority.pem"));
    let relay = Relay::bind(config).await;
    assert_eq!(relay.ask(traced(&json!({ "model": "nobody" }), true)).await.status().as_u16(), 404);
    assert_eq!(collector.request(1).await["front door"].trace, TRACE);
}

// Seen to fail: with prompts told whatever the operator wants, and with none told.
#[tokio::test]
async fn a_prompt_is_told_only_where_the_operator_wants_it() {
    for wanted in [false, true] {
        let mut collector = Collector::start().await;
        let mut config = collector.config();
        config.traces.as_mut().expect("there are traces").takes_content = wanted;
        let relay = Relay::bind(config).await;
        let _agent = AgentPlan::new("a", 1).join(&relay.entrance()).await;
        let members = json!({ "messages": [{ "role": "user", "content": "a secret" }] });
        assert_eq!(relay.ask(traced(&members, true)).await.status().as_u16(), 200);
        let spans = collector.request(5).await;
        let told: Vec<_> = spans.values().filter(|span| format!("{span:?}").contains("a secret")).collect();
        let expected = r#"[{"parts":[{"content":"a secret","type":"text"}],"role":"user"}]"#;
        assert_eq!(told.len(), usize::from(wanted), "{told:?}");
        let prompt = spans["tunnel"].texts.get("gen_ai.input.messages").map(String::as_str);
        assert_eq!(prompt, wanted.then_some(expected));
    }
}
