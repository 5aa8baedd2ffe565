//! The plugin in a whole relay in one process: server, agents, clients, on pipes in memory
//! and a paused clock.

mod bounds;
mod captions;
mod demo;
mod drain;
mod failures;
mod guide;
mod options;
mod removal;
mod world;

// Seen to fail: with the workers' names in the view.
#[tokio::test(start_paused = true)]
async fn the_captioner_keeps_the_contract_of_plugins() {
    nfrx_testkit::contract::check(|| Box::new(nfrx_captioner::CaptionerFactory)).await;
}
