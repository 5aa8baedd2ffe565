//! `nfrx sim`: the simulated backend on a port of its own.

use std::net::SocketAddr;

use anyhow::Context;
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::signals;
use nfrx_sim::{Sim, SimConfig};
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(CommandName::Sim.text(), specs());
    catalogue
}

fn specs() -> Vec<ArgSpec> {
    use ArgType::{Duration, Int, Number, String};
    vec![
        ArgSpec::new("log_level", String, "all, debug, info, warn, error or none")
            .from("--log-level", "LOG_LEVEL", "log_level")
            .default("info"),
        ArgSpec::new("listen_addr", String, "where to listen; keep it on loopback, it asks for no key")
            .from("--listen-addr", "SIM_LISTEN_ADDR", "listen_addr")
            .default("127.0.0.1:11435"),
        ArgSpec::new("models", String, "names of models, comma separated")
            .from("--models", "SIM_MODELS", "models")
            .default("demo"),
        ArgSpec::new("tokens_per_second", Number, "rate of each answer; 0 is as fast as possible")
            .from("--tokens-per-second", "SIM_TOKENS_PER_SECOND", "tokens_per_second")
            .default("20"),
        ArgSpec::new("first_token_delay", Duration, "time to the first token")
            .from("--first-token-delay", "SIM_FIRST_TOKEN_DELAY", "first_token_delay")
            .default("0"),
        ArgSpec::new("answer_tokens", Int, "tokens per answer, unless a request wants fewer")
            .from("--answer-tokens", "SIM_ANSWER_TOKENS", "answer_tokens")
            .default("64"),
        ArgSpec::new("token_bytes", Int, "exact length of a token's text; 0 gives words")
            .from("--token-bytes", "SIM_TOKEN_BYTES", "token_bytes")
            .default("0"),
        ArgSpec::new("concurrency_max", Int, "requests at once, more are 429; 0 is no limit")
            .from("--concurrency-max", "SIM_CONCURRENCY_MAX", "concurrency_max")
            .default("0"),
        ArgSpec::new("error_rate", Number, "share of requests that fail, 0 to 1")
            .from("--error-rate", "SIM_ERROR_RATE", "error_rate")
            .default("0"),
        ArgSpec::new("stall_rate", Number, "share of answers that stop for ever midway, 0 to 1")
            .from("--stall-rate", "SIM_STALL_RATE", "stall_rate")
            .default("0"),
        ArgSpec::new("embedding_dimensions", Int, "numbers per embedding")
            .from("--embedding-dimensions", "SIM_EMBEDDING_DIMENSIONS", "embedding_dimensions")
            .default("64"),
        ArgSpec::new("seed", Int, "another seed gives other words, vectors and failures")
            .from("--seed", "SIM_SEED", "seed")
            .default("0"),
    ]
}

pub(super) fn run(loaded: &Loaded, check: bool) -> anyhow::Result<()> {
    let options = loaded.group(CommandName::Sim.text());
    let addr: SocketAddr = options
        .text("listen_addr")
        .parse()
        .context("`--listen-addr` must be an address with a port, such as 127.0.0.1:11435")?;
    let config = config(&options)?;
    if check {
        return Ok(());
    }
    super::runtime(1)?.block_on(async {
        let stop = signals::terminate()?;
        let sim = Sim::bind(addr, config).await.with_context(|| format!("can't listen on {addr}"))?;
        tracing::info!(url = %format_args!("http://{}/v1", sim.addr()), "simulated backend");
        Ok(sim.serve(stop).await?)
    })
}

fn config(options: &PluginOptions) -> Result<SimConfig, OptionError> {
    let count = |id| options.int(id).map(|count| u32::try_from(count).unwrap_or(0));
    Ok(SimConfig {
        models: options.text("models").split(',').map(|name| name.trim().to_owned()).collect(),
        tokens_per_second: options.number("tokens_per_second")?,
        first_token_delay: options.duration("first_token_delay")?,
        answer_tokens: count("answer_tokens")?,
        concurrency_max: count("concurrency_max")?,
        error_rate: options.number("error_rate")?,
        stall_rate: options.number("stall_rate")?,
        token_bytes: count("token_bytes")? as usize,
        embedding_dimensions: count("embedding_dimensions")? as usize,
        seed: options.int("seed")?.unsigned_abs(),
        ..SimConfig::default()
    })
}
