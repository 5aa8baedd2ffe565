//! The worker protocol at the agent: an old server and a backend, played from scripts, against
//! our agent.

mod s5_unknown;
mod s8_draining;
mod s9_1_start;
mod s9_2_probe;
mod s9_3_proxying;
mod s9_4_reconnect;

use nfrx_conformance::backend::Backend;
use nfrx_conformance::server::{OldServer, Tunnel};
use nfrx_testkit::relay::{AgentPlan, RunningAgent};

/// An agent between an old server and a backend in the test's hands.
struct Rig {
    server: OldServer,
    backend: Backend,
    agent: RunningAgent,
}

impl Rig {
    /// An agent with two slots before a backend with the model `m`.
    fn new() -> Self {
        Self::with(AgentPlan::new("a", 2), &["m"])
    }

    fn with(plan: AgentPlan, models: &[&str]) -> Self {
        let (server, backend) = (OldServer::default(), Backend::new(models));
        let agent = plan.start_between(server.door(), backend.door());
        Self { server, backend, agent }
    }

    /// The same, registered.
    async fn registered() -> (Self, Tunnel) {
        let rig = Self::new();
        let (tunnel, _) = rig.server.registered().await;
        (rig, tunnel)
    }
}
