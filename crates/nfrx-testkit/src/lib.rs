//! Server, agents and backends in one process, and the faults they must survive.

pub mod contract;
pub mod fault;
pub mod http;
pub mod pipe;
pub mod raw;
pub mod relay;
pub mod tee;
