//! What a simulated backend is told: which models it has, how fast it is, how it fails.

use std::time::Duration;

/// How a simulated backend behaves.
///
/// A request overrides it for itself with members of its JSON body:
///
/// | member | effect |
/// |---|---|
/// | `x_sim_tokens` | this many tokens (still bounded by `max_tokens` and its kin) |
/// | `x_sim_tokens_per_second` | the rate; 0 is as fast as possible |
/// | `x_sim_first_token_ms` | time to the first token |
/// | `x_sim_token_bytes` | bytes per token, as `token_bytes` |
/// | `x_sim_status` | an OpenAI error with this status (400..=599), when the first token is due |
/// | `x_sim_stall_after` | nothing more after so many tokens; 0 never sends the head |
/// | `x_sim_die_after` | the connection is cut after so many tokens; 0 cuts before the head |
/// | `x_sim_flush` | `true`: each token leaves in a write of its own, at any rate, as an engine's do |
/// | `x_sim_raw` | the answer's body is exactly this string |
///
/// Uploads (transcriptions and conversions) have no JSON: there the members are headers,
/// such as `x-sim-status: 503`, and there are more:
///
/// | header | effect |
/// |---|---|
/// | `x-sim-upload-bytes-per-second` | the upload is read at this rate |
/// | `x-sim-early` | `true`: answered before the upload is read |
/// | `x-sim-hash` | `true`: the answer tells [`upload_hash`](crate::upload_hash) of the upload |
///
/// An answer that is not streamed ends half way through its body when it dies, and sends
/// nothing at all when it stalls. A fault beyond the last token never happens.
#[derive(Debug, Clone, PartialEq)]
pub struct SimConfig {
    /// Names served; any other model is 404.
    pub models: Vec<String>,
    /// Tokens per second of each answer; 0, negative or not finite is as fast as possible.
    pub tokens_per_second: f64,
    /// From the end of the request to its first token (or to an embedding).
    pub first_token_delay: Duration,
    /// Tokens per answer, unless the request wants fewer.
    pub answer_tokens: u32,
    /// Requests worked on at once; over it a request gets 429. 0 is unlimited.
    pub concurrency_max: u32,
    /// Share of requests (0..=1) that get status 500 before the first byte.
    pub error_rate: f64,
    /// Share of requests (0..=1) whose answers stop for ever after half of their tokens.
    pub stall_rate: f64,
    /// Exact length of each token's text; 0 gives natural words. At most 16 MiB.
    pub token_bytes: usize,
    /// Numbers per embedding, unless the request asks for other `dimensions`.
    pub embedding_dimensions: usize,
    /// Another seed gives other words and vectors, and other requests that fail.
    pub seed: u64,
    /// Served at `/props` as llama.cpp does; `None` answers 404 there.
    pub build_info: Option<String>,
    /// Served at `/api/version` as Ollama does; `None` answers 404 there.
    pub api_version: Option<String>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            models: vec!["demo".to_owned()],
            tokens_per_second: 0.0,
            first_token_delay: Duration::ZERO,
            answer_tokens: 64,
            concurrency_max: 0,
            error_rate: 0.0,
            stall_rate: 0.0,
            token_bytes: 0,
            embedding_dimensions: 64,
            seed: 0,
            build_info: Some(concat!("nfrx-sim ", env!("CARGO_PKG_VERSION")).to_owned()),
            api_version: None,
        }
    }
}
