//! The test that every plugin runs, in a line:
//!
//! ```ignore
//! #[tokio::test(start_paused = true)]
//! async fn keeps_the_contract_of_plugins() {
//!     nfrx_testkit::contract::check(|| Box::new(MyFactory)).await;
//! }
//! ```
//!
//! It looks at what the plugin declares (id, options, routes, metrics, state), then runs it
//! in a server: strangers are refused, its state is JSON, its view shows nothing that an
//! agent says, and a drain lets the server end.

mod declared;
mod running;

use nfrx_spi::PluginFactory;

/// A name as a malicious agent would choose it.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// Fails with everything that the plugin does against the contract. For a test on a
/// paused clock.
pub async fn check(make: impl Fn() -> Box<dyn PluginFactory>) {
    let found = violations(make).await;
    assert!(found.is_empty(), "the plugin breaks its contract:\n- {}", found.join("\n- "));
}

/// What the plugin does against the contract, a sentence each.
pub async fn violations(make: impl Fn() -> Box<dyn PluginFactory>) -> Vec<String> {
    let mut found = declared::violations(&*make());
    // What can't be built can't be run either.
    if found.is_empty() {
        found.extend(running::violations(make()).await);
    }
    found
}
