//! LLM runtimes behind nfrx: the server half offers an OpenAI-compatible API over a pool
//! of agents, the agent half fronts one runtime; see [`agent`].

pub mod agent;
mod server;

pub use server::LlmFactory;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use server::fuzzing;
