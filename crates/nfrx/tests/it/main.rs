//! The binary as its users run it: real processes, real ports, real signals.

mod audit;
mod mcp;
mod process;
mod python;
mod settings;
mod signals;
mod up;
mod uploads;
