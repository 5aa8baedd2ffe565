//! The names under which the old system's options are known in scripts, environment files
//! and YAML files (configuration contract §2.2, §3, §4): each is read, and means the same.

use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

/// One option a line: a value, then its names. `VARIABLE`, `--flag`, `yaml.path`.
const SERVER: &str = "
    debug LOG_LEVEL --log-level loglevel log_level
    9001 PORT --port port
    127.0.0.1:9 METRICS_PORT --metrics-port metricsaddr metrics_addr
    k1 API_KEY --api-key apikey api_key
    k2 CLIENT_KEY --client-key clientkey client_key
    r1,r2 API_HTTP_ROLES --api-http-roles api_http_roles
    r3 CLIENT_HTTP_ROLES --client-http-roles client_http_roles
    7.5 REQUEST_TIMEOUT --request-timeout requesttimeout request_timeout
    -1s DRAIN_TIMEOUT --drain-timeout draintimeout drain_timeout
    https://a.example ALLOWED_ORIGINS --allowed-origins allowedorigins allowed_origins
    redis://h:1/2 REDIS_ADDR --redis-addr redisaddr redis_addr
    llm,mcp PLUGINS --plugins plugins
    :81 LISTEN_ADDR
    3 LLM_MAX_PARALLEL_EMBEDDINGS --llm-max-parallel-embeddings plugin_options.llm.max_parallel_embeddings
    4 LLM_QUEUE_SIZE --llm-queue-size plugin_options.llm.queue_size
    5 LLM_QUEUE_UPDATE_SECONDS --llm-queue-update-seconds plugin_options.llm.queue_update_seconds
    0.5 LLM_MIN_SCORE --llm-min-score plugin_options.llm.min_score
    0.25 plugin_options.asr.min_score
    11 BROKER_MAX_REQ_BYTES --mcp-max-req-bytes plugin_options.mcp.max_req_bytes
    12 BROKER_MAX_RESP_BYTES --mcp-max-resp-bytes plugin_options.mcp.max_resp_bytes
    13 BROKER_WS_HEARTBEAT_MS --mcp-ws-heartbeat-ms plugin_options.mcp.ws_heartbeat_ms
    14 BROKER_WS_DEAD_AFTER_MS --mcp-ws-dead-after-ms plugin_options.mcp.ws_dead_after_ms
    15 BROKER_MAX_CONCURRENCY_PER_CLIENT --mcp-max-concurrency-per-client plugin_options.mcp.max_concurrency_per_client";

const AGENT: &str = "
    warning LOG_LEVEL --log-level loglevel log_level
    wss://h/api/x/connect SERVER_URL --server-url serverurl server_url
    k1 CLIENT_KEY --client-key clientkey client_key
    den-1 CLIENT_ID --client-id clientid client_id
    den CLIENT_NAME --client-name clientname client_name
    7.5 REQUEST_TIMEOUT --request-timeout requesttimeout request_timeout
    127.0.0.1:9 METRICS_PORT --metrics-port metricsaddr metrics_addr
    true RECONNECT --reconnect -r reconnect";

/// What the agents of pools have besides; the old MCP agent had none of it.
const POOL_AGENT: &str = "
    127.0.0.1:8 STATUS_ADDR --status-addr statusaddr status_addr
    3 MAX_CONCURRENCY --max-concurrency maxconcurrency max_concurrency
    -1s DRAIN_TIMEOUT --drain-timeout draintimeout drain_timeout";

const LLM: &str = "
    http://h/v1 COMPLETION_BASE_URL --completion-base-url completionbaseurl completion_base_url
    k2 COMPLETION_API_KEY OLLAMA_API_KEY --completion-api-key completionapikey completion_api_key
    v9 COMPLETION_AGENT_VERSION --completion-agent-version completionagentversion completion_agent_version
    ollama API_STYLE --api-style apistyle api_style
    16 EMBEDDING_BATCH_SIZE --embedding-batch-size embeddingbatchsize embedding_batch_size
    2m MODEL_POLL_INTERVAL --model-poll-interval modelpollinterval model_poll_interval";

const ASR: &str = "
    http://h/v1 ASR_BASE_URL --asr-base-url baseurl asr_base_url
    k2 ASR_API_KEY --asr-api-key apikey asr_api_key";

const DOCLING: &str = "
    http://h DOC_BASE_URL --doc-base-url baseurl doc_base_url
    k2 DOC_API_KEY --doc-api-key apikey doc_api_key";

const MCP: &str = "
    http://h/ PROVIDER_URL --provider-url providerurl provider_url
    k2 AUTH_TOKEN --auth-token authtoken auth_token
    false MCP_HTTP_ALLOW_STREAMING --mcp-http-allow-streaming allowhttpstreaming mcp_http_allow_streaming
    http://h/t MCP_OAUTH_TOKEN_URL --mcp-oauth-token-url oauth.tokenURL
    k3 MCP_OAUTH_CLIENT_ID --mcp-oauth-client-id oauth.clientID
    k4 MCP_OAUTH_CLIENT_SECRET --mcp-oauth-client-secret oauth.clientSecret
    k5 MCP_OAUTH_SCOPES --mcp-oauth-scopes oauth.scopes
    /t MCP_OAUTH_TOKEN_FILE --mcp-oauth-token-file oauth.tokenFile
    false MCP_OAUTH_ENABLED --mcp-oauth-enabled oauth.enabled
    /srv MCP_STDIO_WORKDIR --mcp-stdio-workdir stdio.workDir
    http,oauth MCP_TRANSPORT_ORDER --mcp-transport-order order
    7s MCP_INIT_TIMEOUT --mcp-init-timeout initTimeout
    true MCP_ENABLE_LEGACY_SSE --mcp-enable-legacy-sse enableLegacySSE";

/// Where a value is given.
struct Given<'a> {
    args: Vec<String>,
    env: Vec<(&'a str, &'a str)>,
    yaml: String,
}

impl<'a> Given<'a> {
    fn by(name: &'a str, value: &'a str) -> Self {
        let mut given = Self { args: Vec::new(), env: Vec::new(), yaml: String::new() };
        if name.starts_with('-') {
            // Short ones are switches; of the others both ways to write them are Go's.
            given.args.push(if name.starts_with("--") { format!("{name}={value}") } else { name.to_owned() });
        } else if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            given.env.push((name, value));
        } else {
            let mut indent = String::new();
            for part in name.split('.') {
                given.yaml.push_str(&format!("{indent}{part}:\n"));
                indent.push_str("  ");
            }
            given.yaml.push_str(&format!("{indent}\"{value}\"\n"));
        }
        given
    }

    fn load(&self, catalogue: &Catalogue, file: &std::path::Path) -> Loaded {
        std::fs::write(file, &self.yaml).expect("the temporary folder can be written");
        let command = clap::Command::new("test").no_binary_name(true).args(catalogue.args());
        let args = catalogue.normalise(self.args.iter().cloned());
        let flags = command.try_get_matches_from(args).expect("the flag exists");
        let env =
            |name: &str| self.env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        catalogue.load(file, &env, &flags).unwrap_or_else(|error| panic!("{:?}: {error}", self.yaml))
    }
}

/// Every name on its own gives the value to one option, and names of a line to the same.
#[track_caller]
fn check(command: CommandName, tables: &[&str]) {
    let catalogue = command.catalogue();
    let file =
        std::env::temp_dir().join(format!("nfrx-names-{}-{}.yaml", std::process::id(), command.text()));
    let lines = tables.iter().flat_map(|table| table.lines()).map(str::trim).filter(|line| !line.is_empty());
    for line in lines {
        let (value, names) = line.split_once(' ').expect("a value and names");
        let mut meant = None;
        for name in names.split_whitespace() {
            let loaded = Given::by(name, value).load(&catalogue, &file);
            let found = catalogue.rows().find(|(group, spec)| loaded.group(group).text(spec.id) == value);
            let found = found.map(|(group, spec)| (group, spec.id));
            assert!(found.is_some(), "{name} of nfrx {} is not read", command.text());
            assert_eq!(found, *meant.get_or_insert(found), "{name} means something else than {names}");
        }
    }
    std::fs::remove_file(&file).expect("it was written");
}

#[test]
fn the_server_reads_every_old_name() {
    // Seen to fail: without the alias `apikey`.
    check(CommandName::Server, &[SERVER]);
}

#[test]
fn the_agents_read_every_old_name() {
    // Seen to fail: without the alias `-r`.
    check(CommandName::Llm, &[AGENT, POOL_AGENT, LLM]);
    check(CommandName::Asr, &[AGENT, POOL_AGENT, ASR]);
    check(CommandName::Docling, &[AGENT, POOL_AGENT, DOCLING]);
    check(CommandName::Mcp, &[AGENT, MCP]);
}

#[test]
fn keys_of_old_samples_that_nothing_reads_only_warn() {
    let file = std::env::temp_dir().join(format!("nfrx-dead-{}.yaml", std::process::id()));
    for command in [CommandName::Server, CommandName::Llm, CommandName::Mcp] {
        let mut given = Given::by("log_dir", "/var/log/nfrx");
        given.yaml.push_str("configfile: /etc/nfrx/x.yaml\n");
        let loaded = given.load(&command.catalogue(), &file);
        assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    }
    std::fs::remove_file(&file).expect("it was written");
}
