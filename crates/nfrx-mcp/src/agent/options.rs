//! The options of an agent that fronts MCP servers (MCP contract §4.5).

use nfrx_agent::{agent_specs, option_error};
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions, Secret};

use super::oauth::{OAuthSettings, oauth_specs};
use super::stdio::{ServerCommand, StdioSettings, stdio_specs};
use super::transports::{TransportOrder, transport_specs};
use super::{Endpoint, ServersFile};

/// What an MCP agent runs on besides the common options, checked.
#[derive(Debug, Clone)]
pub struct McpConfig {
    /// The server's address, unless a file names the servers, or it is started here.
    pub endpoint: Endpoint,
    /// What is started in place of an address.
    pub command: Option<ServerCommand>,
    /// In which ways it is reached.
    pub transports: TransportOrder,
    /// How servers are run that are started here.
    pub stdio: StdioSettings,
    /// The file that names the servers.
    pub servers_file: Option<ServersFile>,
    /// Whether the server may stream its answers.
    pub allow_streaming: bool,
    /// The token that callers of this server need, unless they have the relay's key.
    pub auth_token: Option<Secret>,
    /// Whether the server gets the caller's own `Authorization`.
    pub pass_authorization: bool,
    /// Where the agent's own token towards the server comes from, if it needs one.
    pub oauth: Option<OAuthSettings>,
    /// Whether other agents may serve the same id.
    pub replicas: bool,
    /// Whether paths below the server's address may be asked for.
    pub below: bool,
}

/// The options of an MCP agent, the common ones first.
pub fn mcp_agent_specs() -> Vec<ArgSpec> {
    use ArgType::{Bool, String};
    let mut specs = agent_specs("ws://localhost:8080/api/mcp/connect");
    for spec in &mut specs {
        if spec.id == "max_concurrency" {
            // Streams that wait cost a server nothing: the relay has its own bound.
            spec.default = "256";
            spec.description = "calls at the servers at once, 1 to 256";
            spec.aliases = &["maxconcurrency", "MCP_MAX_INFLIGHT"];
        }
    }
    specs.extend([
        ArgSpec::new("provider_url", String, "address of the MCP server (Streamable HTTP)")
            .from("--provider-url", "PROVIDER_URL", "provider_url")
            .aliases(&["MCP_HTTP_URL", "providerurl"])
            .default("http://127.0.0.1:7777/"),
        ArgSpec::new(
            "mcp_servers_file",
            String,
            "JSON file with `mcpServers` as MCP clients have it: its servers in place of PROVIDER_URL",
        )
        .from("--mcp-servers-file", "MCP_SERVERS_FILE", "mcp_servers_file")
        .example("/etc/nfrx/mcp-servers.json"),
        ArgSpec::new(
            "mcp_aggregate",
            Bool,
            "serve the tools of all servers of the file as one more server, under CLIENT_ID, each called SERVER__TOOL",
        )
        .from("--mcp-aggregate", "MCP_AGGREGATE", "mcp_aggregate")
        .default("false"),
        ArgSpec::new("auth_token", String, "token that callers need who have no key of the relay")
            .from("--auth-token", "AUTH_TOKEN", "auth_token")
            .aliases(&["authtoken"])
            .secret(),
        ArgSpec::new("mcp_http_allow_streaming", Bool, "whether the server may stream its answers")
            .from("--mcp-http-allow-streaming", "MCP_HTTP_ALLOW_STREAMING", "mcp_http_allow_streaming")
            .aliases(&["allowhttpstreaming"])
            .default("true"),
        ArgSpec::new(
            "mcp_pass_authorization",
            Bool,
            "give the server its caller's own Authorization; the relay's key is then sent as X-Nfrx-Key",
        )
        .from("--mcp-pass-authorization", "MCP_PASS_AUTHORIZATION", "mcp_pass_authorization")
        .default("false"),
        ArgSpec::new("mcp_replicas", Bool, "share the id with other agents that say the same")
            .from("--mcp-replicas", "MCP_REPLICAS", "mcp_replicas")
            .default("false"),
        ArgSpec::new("mcp_subpaths", Bool, "let callers ask for paths below the server's address")
            .from("--mcp-subpaths", "MCP_SUBPATHS", "mcp_subpaths")
            .default("false"),
    ]);
    specs.extend(oauth_specs());
    specs.extend(transport_specs());
    specs.extend(stdio_specs());
    specs
}

impl McpConfig {
    /// Reads the options of [`mcp_agent_specs`] that are not common to all agents.
    pub fn from_options(options: &PluginOptions) -> Result<Self, OptionError> {
        let endpoint = Endpoint::parse(options.text("provider_url")).map_err(|error| {
            option_error(options, "provider_url", error.to_string().trim_start_matches("must be "))
        })?;
        let text = |id| Some(options.text(id).trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let token = options.text("auth_token").trim();
        let servers_file = text("mcp_servers_file");
        let oauth = OAuthSettings::from_options(options)?;
        let pass_authorization = options.flag("mcp_pass_authorization")?;
        if pass_authorization && oauth.is_some() {
            let why = "false beside MCP_OAUTH_TOKEN_URL: a server gets one Authorization";
            return Err(option_error(options, "mcp_pass_authorization", why));
        }
        let (client_id, joined) = (text("client_id"), options.flag("mcp_aggregate")?);
        if joined && (client_id.is_none() || servers_file.is_none()) {
            return Err(option_error(
                options,
                "mcp_aggregate",
                "false without CLIENT_ID and MCP_SERVERS_FILE",
            ));
        }
        let command = ServerCommand::from_options(options)?;
        Ok(Self {
            endpoint,
            transports: TransportOrder::from_options(options, command.is_some())?,
            command,
            stdio: StdioSettings::from_options(options)?,
            servers_file: servers_file.map(|path| ServersFile::new(path.into(), client_id, joined)),
            allow_streaming: options.flag("mcp_http_allow_streaming")?,
            auth_token: (!token.is_empty()).then(|| Secret::new(token)),
            pass_authorization,
            oauth,
            replicas: options.flag("mcp_replicas")?,
            below: options.flag("mcp_subpaths")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<McpConfig, OptionError> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        McpConfig::from_options(&PluginOptions::new(mcp_agent_specs(), values.collect()))
    }

    #[test]
    fn without_any_value_the_contracts_defaults_hold() {
        let config = read(&[]).expect("defaults are valid");
        assert_eq!(config.endpoint.to_string(), "http://127.0.0.1:7777/");
        assert!(config.allow_streaming && config.auth_token.is_none());
        assert!(!config.pass_authorization && !config.replicas && !config.below);
    }

    #[test]
    fn a_wrong_address_is_named_and_a_token_is_not_shown() {
        let error = read(&[("provider_url", "localhost:7777")]).expect_err("refused").to_string();
        assert!(error.contains("PROVIDER_URL") && error.contains("localhost:7777"), "{error}");
        assert!(!format!("{:?}", read(&[("auth_token", "hunter2")])).contains("hunter2"));
        for alone in [("client_id", "den"), ("mcp_servers_file", "servers.json")] {
            let error = read(&[alone, ("mcp_aggregate", "true")]).expect_err("refused").to_string();
            assert!(error.contains("MCP_AGGREGATE"), "{error}");
        }
        let oauth = [("mcp_oauth_token_url", "http://h/"), ("mcp_oauth_client_id", "a")];
        let both = [&oauth[..], &[("mcp_pass_authorization", "true")]].concat();
        let error = read(&both).expect_err("refused").to_string();
        assert!(error.contains("MCP_PASS_AUTHORIZATION"), "{error}");
    }

    #[test]
    fn every_option_has_one_place_in_each_source() {
        let specs = mcp_agent_specs();
        let sources: [fn(&ArgSpec) -> &'static str; 4] =
            [|spec| spec.flag, |spec| spec.env, |spec| spec.yaml, |spec| spec.id];
        for source in sources {
            let mut names: Vec<_> = specs.iter().map(source).filter(|name| !name.is_empty()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }
}
