//! What must hold for every input that comes from outside, whoever made it up.
//!
//! A target is one function over bytes: it reads them as the product does and panics where
//! a promise is broken. `cargo xtask fuzz` has libFuzzer invent the bytes; the tests of this
//! crate play what is kept of them in `corpus`, with a folder for each target. Not here:
//! connections, time and tasks, which `nfrx-soak` breaks.

mod config;
mod events;
mod form;
mod json;
mod llm_answer;
mod llm_request;
mod paths;
mod pieces;
mod registration;
mod stdio;
mod v1;

/// A kind of input, and what must hold for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The folder of its inputs in `corpus`.
    pub name: &'static str,
    /// Panics where the input breaks a promise.
    pub run: fn(&[u8]),
}

/// All of them, by name.
pub const TARGETS: &[Target] = &[
    Target { name: "config", run: config::run },
    Target { name: "events", run: events::run },
    Target { name: "form", run: form::run },
    Target { name: "llm-answer", run: llm_answer::run },
    Target { name: "llm-request", run: llm_request::run },
    Target { name: "paths", run: paths::run },
    Target { name: "registration", run: registration::run },
    Target { name: "stdio", run: stdio::run },
    Target { name: "v1", run: v1::run },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
