//! The plugin's own options (MCP contract §5): declared once, read once.

use std::time::Duration;

use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginDescriptor, PluginOptions};

/// Below this a healthy old agent, which speaks every 15 s, would be cut (KD-136).
const DEAD_AFTER_MIN: Duration = Duration::from_secs(30);

/// What the plugin says of itself (MCP contract §7.3).
pub(super) fn descriptor() -> PluginDescriptor {
    PluginDescriptor {
        id: super::ID,
        name: "MCP Relay",
        summary: "Relay for Model Context Protocol providers",
        args: specs(),
    }
}

fn specs() -> Vec<ArgSpec> {
    use ArgType::{Bool, Duration, Int, String};
    let spec = |id, kind, description| ArgSpec::new(id, kind, description);
    vec![
        spec("max_req_bytes", Int, "Maximum MCP request size in bytes")
            .from("--mcp-max-req-bytes", "BROKER_MAX_REQ_BYTES", "plugin_options.mcp.max_req_bytes")
            .default("10485760")
            .example("20971520"),
        spec("max_resp_bytes", Int, "Maximum MCP response size in bytes")
            .from("--mcp-max-resp-bytes", "BROKER_MAX_RESP_BYTES", "plugin_options.mcp.max_resp_bytes")
            .default("10485760")
            .example("20971520"),
        spec("ws_heartbeat_ms", Int, "Ping interval to connected MCP relays (milliseconds)")
            .from("--mcp-ws-heartbeat-ms", "BROKER_WS_HEARTBEAT_MS", "plugin_options.mcp.ws_heartbeat_ms")
            .default("15000")
            .example("10000"),
        spec("ws_dead_after_ms", Int, "Disconnect MCP relay if no pong within this period (milliseconds)")
            .from("--mcp-ws-dead-after-ms", "BROKER_WS_DEAD_AFTER_MS", "plugin_options.mcp.ws_dead_after_ms")
            .default("45000")
            .example("30000"),
        spec("max_concurrency_per_client", Int, "Maximum concurrent MCP sessions per client")
            .from(
                "--mcp-max-concurrency-per-client",
                "BROKER_MAX_CONCURRENCY_PER_CLIENT",
                "plugin_options.mcp.max_concurrency_per_client",
            )
            .default("16")
            .example("32"),
        spec("public", Bool, "serve MCP servers to everybody, as releases before 1.0 did; a server's own token still counts")
            .from("--mcp-public", "MCP_PUBLIC", "plugin_options.mcp.public")
            .default("false"),
        spec("agent_wait", Duration, "how long a request waits for an agent that is away; 0: not at all")
            .from("--mcp-agent-wait", "MCP_AGENT_WAIT", "plugin_options.mcp.agent_wait")
            .default("5s")
            .example("2s"),
        spec("idle_max", Duration, "the longest silence within a streamed answer; 0: no limit. GET and listen streams have none")
            .from("--mcp-idle-max", "MCP_IDLE_MAX", "plugin_options.mcp.idle_max")
            .default("0")
            .example("15m"),
        spec("takeover", String, "who has an id that two agents want: newer (the one started last) or refuse (the one that is there)")
            .from("--mcp-takeover", "MCP_TAKEOVER", "plugin_options.mcp.takeover")
            .default("newer"),
    ]
}

/// The options as the program uses them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct McpOptions {
    /// The most bytes of a request's body.
    pub(super) request_bytes_max: u64,
    /// The most bytes of an answer from an old agent, which sends it in one piece.
    pub(super) answer_bytes_max: u64,
    /// How often old agents are asked for a sign of life.
    pub(super) heartbeat: Duration,
    /// After how much silence an old agent is taken for lost.
    pub(super) dead_after: Duration,
    /// Calls at once at one agent; `None` for as many as its tunnel carries.
    pub(super) calls_max: Option<u32>,
    /// Whether everybody may come in.
    pub(super) public: bool,
    /// How long a request waits for an agent that is away.
    pub(super) agent_wait: Duration,
    /// The longest silence within a streamed answer; `None` for no limit.
    pub(super) idle_max: Option<Duration>,
    /// Whether an agent may take an id over without its token.
    pub(super) newer_takes_over: bool,
}

impl McpOptions {
    /// Reads the options; text has the right types by now.
    pub(super) fn read(options: &PluginOptions) -> Result<Self, OptionError> {
        let idle_max = options.duration("idle_max")?;
        Ok(Self {
            request_bytes_max: bytes(options, "max_req_bytes")?,
            answer_bytes_max: bytes(options, "max_resp_bytes")?,
            heartbeat: millis(options, "ws_heartbeat_ms", Duration::from_secs(1), Duration::from_secs(15))?,
            dead_after: millis(options, "ws_dead_after_ms", DEAD_AFTER_MIN, Duration::from_secs(45))?,
            calls_max: u32::try_from(options.int("max_concurrency_per_client")?).ok().filter(|max| *max > 0),
            public: options.flag("public")?,
            agent_wait: options.duration("agent_wait")?,
            idle_max: (!idle_max.is_zero()).then_some(idle_max),
            newer_takes_over: takeover(options)?,
        })
    }
}

fn bytes(options: &PluginOptions, id: &str) -> Result<u64, OptionError> {
    let value = options.int(id)?;
    u64::try_from(value)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| wrong(options, id, "a number of bytes above 0"))
}

/// 0 is the default; below `least` the value is raised: an old sample has such values, and
/// they would cut every healthy agent (KD-136). Negative ones stop the start (KD-128).
fn millis(
    options: &PluginOptions,
    id: &str,
    least: Duration,
    default: Duration,
) -> Result<Duration, OptionError> {
    let value = options.int(id)?;
    let span =
        u64::try_from(value).map_err(|_| wrong(options, id, "a number of milliseconds, not negative"))?;
    match Duration::from_millis(span) {
        Duration::ZERO => Ok(default),
        span if span < least => {
            tracing::warn!(
                option = id,
                raised_to_ms = least.as_millis() as u64,
                "the value would cut healthy agents"
            );
            Ok(least)
        }
        span => Ok(span),
    }
}

fn takeover(options: &PluginOptions) -> Result<bool, OptionError> {
    match options.text("takeover").trim() {
        "newer" => Ok(true),
        "refuse" => Ok(false),
        _ => Err(wrong(options, "takeover", "`newer` or `refuse`")),
    }
}

fn wrong(options: &PluginOptions, id: &str, expected: &str) -> OptionError {
    let spec = options.specs().iter().find(|spec| spec.id == id);
    OptionError {
        option: spec.map_or(id, |spec| spec.yaml).to_owned(),
        expected: format!("must be {expected}"),
        found: options.text(id).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<McpOptions, OptionError> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        McpOptions::read(&PluginOptions::new(specs(), values.collect()))
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let options = read(&[]).expect("right types");
        assert_eq!((options.request_bytes_max, options.calls_max), (10_485_760, Some(16)));
        assert_eq!((options.heartbeat.as_secs(), options.dead_after.as_secs()), (15, 45));
        assert!(!options.public && options.newer_takes_over);
        assert_eq!((options.idle_max, options.agent_wait.as_secs()), (None, 5));
    }

    #[test]
    fn values_that_would_break_everything_are_refused_or_raised() {
        for (id, value) in [("ws_heartbeat_ms", "-1"), ("max_req_bytes", "0"), ("takeover", "maybe")] {
            let error = read(&[(id, value)]).expect_err("refused").to_string();
            assert!(error.contains(&format!("plugin_options.mcp.{id}")) && error.contains(value), "{error}");
        }
        assert_eq!(read(&[("ws_dead_after_ms", "9000")]).expect("raised").dead_after, DEAD_AFTER_MIN);
        assert_eq!(read(&[("ws_dead_after_ms", "0")]).expect("default").dead_after.as_secs(), 45);
        assert_eq!(read(&[("max_concurrency_per_client", "0")]).expect("no limit").calls_max, None);
    }
}
