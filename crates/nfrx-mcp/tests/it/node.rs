//! What needs Node: left out by name where there is none, `cargo xtask test` says so.

mod clients;
mod conformance;
mod everything;
