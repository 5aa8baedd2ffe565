//! LLM runtimes behind nfrx. The agent half fronts one; see [`agent`].

pub mod agent;
