use std::io;
use std::sync::Mutex;

use nfrx_agent::client::{Connector, Stream};
use nfrx_sim::{SimConfig, SimHandle};
use nfrx_spi::PluginOptions;
use tokio::io::duplex;
use tokio::task::JoinSet;

use super::*;

fn config(values: &[(&str, &str)]) -> DoclingConfig {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let options = PluginOptions::new(docling_agent_specs(), values.collect());
    DoclingConfig::from_options(&options).expect("valid options")
}

struct Pipes(SimHandle, Mutex<JoinSet<()>>);

impl Connector for Pipes {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        let (near, far) = duplex(1 << 16);
        let sim = self.0.clone();
        self.1.lock().unwrap().spawn(async move { drop(sim.serve_connection(far).await) });
        Box::pin(async { Ok(Box::pin(near) as Stream) })
    }
}

async fn probe(base: &str) -> (Result<Found, ProbeError>, SimHandle) {
    let sim = SimHandle::new(SimConfig::default());
    let config = config(&[("doc_base_url", base), ("doc_api_key", "secret")]);
    let pipes = Arc::new(Pipes(sim.clone(), Mutex::default()));
    let client = BackendClient::with_connector(config.base, pipes, None).expect("a client");
    (Converter { client }.probe().await, sim)
}

#[tokio::test]
async fn a_healthy_converter_is_ready_without_labels_and_without_a_key() {
    let (found, sim) = probe("http://h:1/").await;
    assert_eq!(found.expect("ready"), Found::default());
    let request = &sim.requests()[0];
    assert_eq!((request.path.as_str(), request.headers.contains_key("authorization")), ("/health", false));
}

#[tokio::test]
async fn one_that_says_that_it_is_not_there_is_not_ready() {
    let (found, _sim) = probe("http://h:1/elsewhere").await;
    let ProbeError(text) = found.expect_err("no such path");
    assert!(text.starts_with("probe http://h:1/elsewhere/health: health status 404"), "{text}");
}

#[test]
fn without_any_value_a_converter_on_this_machine_is_fronted() {
    let config = config(&[]);
    assert_eq!((config.base.to_string().as_str(), config.key.is_none()), ("http://127.0.0.1:5001", true));
}

#[test]
fn only_conversions_may_pass() {
    let allows = |method: Method, path: &str| allowed().allows(&method, &path.parse().expect("a path"));
    assert!(allows(Method::POST, "/v1/convert/file") && allows(Method::POST, "/v1/convert/source?x=1"));
    for (method, path) in [
        (Method::GET, "/v1/convert/file"),
        (Method::POST, "/convert/file"),
        (Method::POST, "/v1/convert/file/async"),
        (Method::GET, "/health"),
    ] {
        assert!(!allows(method, path), "{path}");
    }
}
