//! The workers of one plugin: who is there, who is free, who waits. Decisions without I/O.
//!
//! A plugin builds a [`Pool`] and gives it to the server as the place where tunnels bring
//! their workers. For each request it makes a [`Want`] and either takes a [`Slot`] by
//! itself ([`Pool::take`], [`Pool::wait`]) or hands the request to a [`Dispatch`], which
//! also sends it, tries another worker when one fails before its first byte, and gives an
//! answer that holds its slot until it ends.
//!
//! Promised: a worker never gets more than its capacity; a slot is freed by its guard's
//! drop, on every path; a freed slot goes to the first waiter it fits, at once; nobody
//! overtakes a waiter that could have had the slot. Left out: sockets, tasks, and time
//! other than through the SPI's clock.

mod config;
mod dispatch;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod pool;
mod scorer;
mod slot;
mod snapshot;
mod state;
mod sync;
#[cfg(test)]
mod testing;
mod waiting;
mod want;
mod worker;

pub use config::{PoolConfig, Takeover, WORKERS_MAX};
pub use dispatch::{
    Admission, Dispatch, DispatchError, Limits, Observer, QueueEnd, Queued, Sent, Spread, Work,
};
pub use metrics::{RequestKind, RequestMetrics, RequestTally, Usage};
pub use pool::Pool;
pub use scorer::{AliasScorer, AnyScorer, alias_key};
pub use slot::Slot;
pub use state::TakeError;
pub use waiting::Waiting;
pub use want::Want;
pub use worker::Worker;
