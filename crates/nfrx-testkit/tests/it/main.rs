//! The whole relay in one process, and what it must survive: clients that leave or stop
//! reading, agents and servers that vanish, backends that stall, requests that are wrong.
//!
//! Pipes and a paused clock: times are exact, and a run is like the one before.

#![expect(clippy::duplicate_mod, reason = "some files are compiled once for each carrier: see `over`")]

mod actions;
mod ask;
mod contract;
mod floods;
mod form;
mod grafana;
mod keys;
mod refused;
mod rogue;
mod slow;
mod sockets;
mod takeover;
mod traces;
mod tunnel_floods;
mod upload;
mod zeros;

/// What must be the same whatever carries the tunnel: the files in `both` are compiled once
/// for each carrier, and ask the module around them for their agents.
macro_rules! over {
    ($module:ident, $carrier:ident) => {
        #[path = "both"]
        mod $module {
            mod asr;
            mod cancel;
            mod docling;
            mod embeddings;
            mod idle;
            mod leaving;
            mod lost;
            mod queue;

            use nfrx_testkit::relay::{AgentPlan, Carrier, Kind};

            fn plan(id: &str, max_concurrency: u32) -> AgentPlan {
                plan_of(Kind::Llm, id, max_concurrency)
            }

            fn plan_of(kind: Kind, id: &str, max_concurrency: u32) -> AgentPlan {
                AgentPlan { carrier: Carrier::$carrier, ..AgentPlan::of(kind, id, max_concurrency) }
            }
        }
    };
}

over!(h2, H2);
over!(v1, V1);
