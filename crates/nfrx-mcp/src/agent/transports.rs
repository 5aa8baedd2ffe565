//! In which ways the only server may be reached, and the first of them that works.

mod first;

use std::time::Duration;

use nfrx_agent::option_error;
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions};

pub(super) use first::FirstOf;

/// A way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// Started here, over its standard streams.
    Stdio,
    /// By Streamable HTTP.
    Http,
    /// By the HTTP+SSE of the protocol's first revision.
    Sse,
}

/// The ways that are tried, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportOrder {
    /// At least one, each once.
    pub kinds: Vec<TransportKind>,
    /// How long each may take to answer, if there is more than one.
    pub init_max: Duration,
}

/// The options of ways, under the names of the old documents.
pub(super) fn transport_specs() -> Vec<ArgSpec> {
    vec![
        ArgSpec::new(
            "mcp_transport_order",
            ArgType::String,
            "ways to the server, tried in this order until one works: stdio, http (also called oauth), sse; without it stdio if there is a command, else http",
        )
        .from("--mcp-transport-order", "MCP_TRANSPORT_ORDER", "mcp_transport_order")
        .aliases(&["order"])
        .example("stdio,http"),
        ArgSpec::new(
            "mcp_enable_legacy_sse",
            ArgType::Bool,
            "speak HTTP+SSE (2024-11-05) with the server at PROVIDER_URL, if nothing else works",
        )
        .from("--mcp-enable-legacy-sse", "MCP_ENABLE_LEGACY_SSE", "mcp_enable_legacy_sse")
        .aliases(&["enableLegacySSE"])
        .default("false"),
        ArgSpec::new(
            "mcp_init_timeout",
            ArgType::Duration,
            "how long each way may take to answer, if there is more than one",
        )
        .from("--mcp-init-timeout", "MCP_INIT_TIMEOUT", "mcp_init_timeout")
        .aliases(&["initTimeout"])
        .default("5s"),
    ]
}

impl TransportOrder {
    /// Reads the options. Ways that are named and not set up are left out.
    pub(super) fn from_options(options: &PluginOptions, has_command: bool) -> Result<Self, OptionError> {
        let refuse = |expected| Err(option_error(options, "mcp_transport_order", expected));
        let legacy_sse = options.flag("mcp_enable_legacy_sse")?;
        let mut kinds = Vec::new();
        let named = options.text("mcp_transport_order");
        for name in named.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            let kind = match name.as_str() {
                "" => continue,
                "stdio" => TransportKind::Stdio,
                // The same way, with a token if MCP_OAUTH_TOKEN_URL says so.
                "http" | "oauth" => TransportKind::Http,
                "sse" if legacy_sse => TransportKind::Sse,
                "sse" => return refuse("without `sse`, or MCP_ENABLE_LEGACY_SSE be true"),
                _ => return refuse("some of stdio, http, oauth and sse, apart by commas"),
            };
            if !kinds.contains(&kind) && (kind != TransportKind::Stdio || has_command) {
                kinds.push(kind);
            }
        }
        match (named.trim(), has_command) {
            ("", true) => kinds.push(TransportKind::Stdio),
            ("", false) => kinds.push(TransportKind::Http),
            _ => {}
        }
        let is_over_http = !named.trim().is_empty() || !has_command;
        if legacy_sse && is_over_http && !kinds.contains(&TransportKind::Sse) {
            kinds.push(TransportKind::Sse);
        }
        if kinds.is_empty() {
            return refuse("something besides stdio, or MCP_STDIO_COMMAND be set");
        }
        let init_max = options.duration("mcp_init_timeout")?;
        if init_max.is_zero() {
            return Err(option_error(options, "mcp_init_timeout", "longer than 0"));
        }
        Ok(Self { kinds, init_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(order: &str, legacy_sse: &str, has_command: bool) -> Result<Vec<TransportKind>, String> {
        let values = [("mcp_transport_order", order), ("mcp_enable_legacy_sse", legacy_sse)];
        let values = values.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let options = PluginOptions::new(transport_specs(), values.into_iter().collect());
        let order = TransportOrder::from_options(&options, has_command);
        order.map(|order| order.kinds).map_err(|error| error.to_string())
    }

    // Seen to fail: with `oauth` taken for a way of its own, with a command that is not there,
    // and with HTTP+SSE unasked.
    #[test]
    fn ways_are_tried_as_named_if_they_are_set_up() {
        use TransportKind::{Http, Sse, Stdio};
        assert_eq!(read("", "false", false), Ok(vec![Http]));
        assert_eq!(read("", "false", true), Ok(vec![Stdio]));
        assert_eq!(read("", "true", false), Ok(vec![Http, Sse]));
        assert_eq!(read("", "true", true), Ok(vec![Stdio]), "the command is in place of the address");
        assert_eq!(read("stdio,http,oauth", "false", true), Ok(vec![Stdio, Http]));
        assert_eq!(read("stdio,http,oauth", "true", false), Ok(vec![Http, Sse]));
        assert_eq!(read("SSE, http", "true", true), Ok(vec![Sse, Http]));
        assert!(read("sse", "false", false).is_err_and(|error| error.contains("MCP_ENABLE_LEGACY_SSE")));
        assert!(read("stdio", "false", false).is_err_and(|error| error.contains("MCP_STDIO_COMMAND")));
        assert!(read("carrier-pigeon", "false", false).is_err_and(|error| error.contains("stdio, http")));
    }
}
