//! What becomes of standing tunnels when the keys of agents change.

use std::path::PathBuf;

use nfrx_agent::AgentStatus;
use nfrx_server::KeyList;
use nfrx_spi::{Scopes, Secret};
use nfrx_testkit::relay::{AgentPlan, Carrier, Relay, ServerConfig, config};

/// A file of agents' keys, gone at the end of its test.
struct KeysFile(PathBuf);

impl KeysFile {
    fn new(name: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("nfrx-relay-{}-{name}.yaml", std::process::id())));
        file.write(&[("den", Scopes::default()), ("attic", Scopes::default())]);
        file
    }

    /// Keys that are called what they are.
    fn write(&self, keys: &[(&str, Scopes)]) {
        let mut list = KeyList::default();
        for (name, scopes) in keys {
            list.add(name, &Secret::new(*name), scopes.clone()).expect("a good name");
        }
        std::fs::write(&self.0, list.text()).expect("the temporary folder can be written");
    }

    fn config(&self) -> ServerConfig {
        let mut config = config(&[]);
        config.login.workers.key = None;
        config.login.workers.keys_file = Some(self.0.clone());
        config
    }
}

impl Drop for KeysFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn plan(key: &str, carrier: Carrier) -> AgentPlan {
    AgentPlan { key: Some(key.to_owned()), carrier, reconnect: false, ..AgentPlan::new(key, 1) }
}

const GONE: fn(&AgentStatus) -> bool = |status| !status.connected_to_server;

#[tokio::test(start_paused = true)]
async fn a_revoked_key_ends_its_tunnels_and_no_others() {
    for carrier in [Carrier::H2, Carrier::V1] {
        let file = KeysFile::new(&format!("revoked-{carrier:?}"));
        let relay = Relay::start(file.config());
        let mut den = plan("den", carrier).join(&relay.entrance()).await;
        let attic = plan("attic", carrier).join(&relay.entrance()).await;
        relay.until(|llm| llm["workers_summary"]["idle"] == 2).await;
        file.write(&[("attic", Scopes::default())]);
        // Seen to fail: without the order to close the tunnel.
        let ended = den.ended().await.expect_err("without --reconnect that is an error");
        assert!(
            ended.contains("key is no longer valid") || ended.contains("unauthorized"),
            "{carrier:?}: {ended}"
        );
        relay.until(|llm| llm["workers_summary"]["idle"] == 1).await;
        assert_eq!(relay.sample("nfrx_tunnel_closed_total{reason=\"unauthorized\"}").await, Some(1));
        attic.until(|status| status.connected_to_server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_not_do_it_any_more_ends_its_tunnels() {
    let file = KeysFile::new("scopes");
    let relay = Relay::start(file.config());
    let den = plan("den", Carrier::H2).join(&relay.entrance()).await;
    let asr = Scopes { services: vec!["asr".to_owned()], ..Scopes::default() };
    file.write(&[("den", asr)]);
    // Seen to fail: with the digest as all that is compared.
    den.until(GONE).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_has_no_more_tunnels_than_it_may() {
    let file = KeysFile::new("bound");
    let mut config = file.config();
    config.limits.tunnels_per_key_max = 1;
    let relay = Relay::start(config);
    let first = plan("den", Carrier::H2).join(&relay.entrance()).await;
    assert_eq!(relay.sample("nfrx_server_key_tunnels{key=\"den\"}").await, Some(1));
    let mut second =
        AgentPlan { id: "another".to_owned(), ..plan("den", Carrier::H2) }.start(&relay.entrance());
    let refused = second.ended().await.expect_err("there is no place");
    assert!(refused.contains("429"), "{refused}");
    assert_eq!(relay.sample("nfrx_server_refused_total{reason=\"key_tunnels\"}").await, Some(1));
    let _attic = plan("attic", Carrier::H2).join(&relay.entrance()).await;
    first.stop().await.expect("it drains");
    let _third =
        AgentPlan { id: "another".to_owned(), ..plan("den", Carrier::H2) }.join(&relay.entrance()).await;
}
