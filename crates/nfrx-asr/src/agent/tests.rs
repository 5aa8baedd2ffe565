use std::io;

use nfrx_agent::client::{Connector, Stream};
use nfrx_sim::{SimConfig, SimHandle};
use nfrx_spi::PluginOptions;
use tokio::io::duplex;
use tokio::task::JoinSet;

use super::*;

fn config(values: &[(&str, &str)]) -> AsrConfig {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let options = PluginOptions::new(asr_agent_specs(), values.collect());
    AsrConfig::from_options(&options).expect("valid options")
}

struct Pipes(SimHandle, std::sync::Mutex<JoinSet<()>>);

impl Connector for Pipes {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        let (near, far) = duplex(1 << 16);
        let sim = self.0.clone();
        self.1.lock().unwrap().spawn(async move { drop(sim.serve_connection(far).await) });
        Box::pin(async { Ok(Box::pin(near) as Stream) })
    }
}

async fn probe(values: &[(&str, &str)], models: &[&str]) -> (Result<Found, ProbeError>, SimHandle) {
    let models = models.iter().map(|model| (*model).to_owned()).collect();
    let sim = SimHandle::new(SimConfig { models, ..SimConfig::default() });
    let config = config(values);
    let pipes = Arc::new(Pipes(sim.clone(), std::sync::Mutex::default()));
    let client = BackendClient::with_connector(config.base.clone(), pipes, None).expect("a client");
    (Recogniser { client, key: config.key }.probe().await, sim)
}

#[tokio::test]
async fn a_probe_lists_the_models_with_the_key() {
    let values = [("asr_base_url", "http://h:1/v1/"), ("asr_api_key", "secret")];
    let (found, sim) = probe(&values, &["whisper-1", "parakeet"]).await;
    assert_eq!(found.expect("ready").models, ["whisper-1", "parakeet"]);
    let request = &sim.requests()[0];
    assert_eq!(
        (request.path.as_str(), &request.headers["authorization"]),
        ("/v1/models", &"Bearer secret".parse().unwrap())
    );
    let (found, sim) = probe(&[], &[]).await;
    assert_eq!(found.expect("ready without models"), Found::default());
    assert!(!sim.requests()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_recogniser_that_has_no_list_is_not_ready() {
    let (found, _sim) = probe(&[("asr_base_url", "http://h:1/elsewhere")], &[]).await;
    let ProbeError(text) = found.expect_err("no such path");
    assert!(text.starts_with("probe http://h:1/elsewhere/models: models status 404"), "{text}");
}

#[test]
fn without_any_value_a_recogniser_on_this_machine_is_fronted() {
    let config = config(&[]);
    assert_eq!((config.base.to_string().as_str(), config.key.is_none()), ("http://127.0.0.1:5002/v1", true));
}

#[test]
fn only_transcriptions_may_pass() {
    let allows = |method: Method, path: &str| allowed().allows(&method, &path.parse().expect("a path"));
    assert!(allows(Method::POST, "/audio/transcriptions?x=1"));
    for (method, path) in [
        (Method::GET, "/audio/transcriptions"),
        (Method::POST, "/audio/translations"),
        (Method::POST, "/audio/transcriptions/"),
        (Method::GET, "/models"),
    ] {
        assert!(!allows(method, path), "{path}");
    }
}
