//! Both ends of a tunnel over pipes in memory, with tokio's clock paused.

mod cancel;
mod door;
mod exchange;
mod link;
mod pipe;
mod readers;
mod rig;
