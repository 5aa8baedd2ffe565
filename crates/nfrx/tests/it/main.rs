//! The binary as its users run it: real processes, real ports, real signals.

mod audit;
mod browser;
#[cfg(target_os = "linux")]
mod crowd;
mod deploy;
mod durable;
#[cfg(target_os = "linux")]
mod jobs;
mod limits;
mod mcp;
mod memory;
mod process;
mod proxy;
mod python;
mod settings;
mod signals;
#[cfg(target_os = "linux")]
mod stdio;
mod up;
mod uploads;
