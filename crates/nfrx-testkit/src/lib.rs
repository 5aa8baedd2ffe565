//! Server, agents and backends in one process, and the faults they must survive.

pub mod contract;
pub mod http;
pub mod pipe;
pub mod relay;
pub mod tee;
