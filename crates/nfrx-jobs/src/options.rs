//! The plugin's own options: declared once, read once.

use std::time::Duration;

use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginDescriptor, PluginOptions};

use crate::store::Retention;
use crate::time::Millis;

/// What the plugin says of itself (configuration contract §3).
pub(crate) fn descriptor() -> PluginDescriptor {
    let args = vec![
        arg("enabled", ArgType::Bool, "whether jobs and transfers are served", "true").from(
            "--jobs",
            "JOBS",
            "plugin_options.jobs.enabled",
        ),
        arg(
            "store",
            ArgType::String,
            "where jobs are kept: `disk`, or `memory` for none that outlives the process",
            "disk",
        )
        .from("--jobs-store", "JOBS_STORE", "plugin_options.jobs.store"),
        arg(
            "client_ttl",
            ArgType::Duration,
            "how long a job lives that no client looks after; 0: no limit",
            "30s",
        )
        .from("--jobs-client-ttl", "JOBS_CLIENT_TTL", "plugin_options.jobs.client_ttl"),
        arg(
            "sse_close_delay",
            ArgType::Duration,
            "how long an event stream stays after the job's end; below 0: for ever",
            "5s",
        )
        .from(
            "--jobs-sse-close-delay",
            "JOBS_SSE_CLOSE_DELAY",
            "plugin_options.jobs.sse_close_delay",
        ),
        arg(
            "lease",
            ArgType::Duration,
            "how long a worker may be silent about a job, unless it asks otherwise",
            "1h",
        )
        .from("--jobs-lease", "JOBS_LEASE", "plugin_options.jobs.lease"),
        arg("lease_max", ArgType::Duration, "the longest lease that a worker may ask for", "24h").from(
            "--jobs-lease-max",
            "JOBS_LEASE_MAX",
            "plugin_options.jobs.lease_max",
        ),
        arg("queue_max", ArgType::Int, "the most jobs that wait; more are refused with 503", "1000000").from(
            "--jobs-queue-max",
            "JOBS_QUEUE_MAX",
            "plugin_options.jobs.queue_max",
        ),
        arg("body_bytes_max", ArgType::Int, "the most bytes of a request's JSON", "1048576").from(
            "--jobs-body-bytes-max",
            "JOBS_BODY_BYTES_MAX",
            "plugin_options.jobs.body_bytes_max",
        ),
        arg("keys_max", ArgType::Int, "the most payload and result keys of a job", "64").from(
            "--jobs-keys-max",
            "JOBS_KEYS_MAX",
            "plugin_options.jobs.keys_max",
        ),
        arg(
            "waiting_max",
            ArgType::Int,
            "the most claims and streams of workers that wait; more are refused with 503",
            "10000",
        )
        .from("--jobs-waiting-max", "JOBS_WAITING_MAX", "plugin_options.jobs.waiting_max"),
        arg(
            "watchers_max",
            ArgType::Int,
            "the most event streams and long polls of clients; more are refused with 503",
            "10000",
        )
        .from("--jobs-watchers-max", "JOBS_WATCHERS_MAX", "plugin_options.jobs.watchers_max"),
        arg("keep_done", ArgType::Duration, "how long completed and canceled jobs are kept", "24h").from(
            "--jobs-keep-done",
            "JOBS_KEEP_DONE",
            "plugin_options.jobs.keep_done",
        ),
        arg("keep_failed", ArgType::Duration, "how long failed jobs are kept", "168h").from(
            "--jobs-keep-failed",
            "JOBS_KEEP_FAILED",
            "plugin_options.jobs.keep_failed",
        ),
        arg(
            "spool_bytes_max",
            ArgType::Int,
            "the most bytes of all stored payloads and results; more are refused with 507",
            "10737418240",
        )
        .from(
            "--jobs-spool-bytes-max",
            "JOBS_SPOOL_BYTES_MAX",
            "plugin_options.jobs.spool_bytes_max",
        ),
        arg("spool_ttl", ArgType::Duration, "how long payloads and results stay stored", "24h").from(
            "--jobs-spool-ttl",
            "JOBS_SPOOL_TTL",
            "plugin_options.jobs.spool_ttl",
        ),
        arg(
            "channels_max",
            ArgType::Int,
            "the most open transfer channels; more are refused with 503",
            "10000",
        )
        .from("--transfer-channels-max", "TRANSFER_CHANNELS_MAX", "plugin_options.jobs.channels_max"),
        arg(
            "transfer_idle",
            ArgType::Duration,
            "how long a joined transfer may be without a byte; 0: no limit",
            "5m",
        )
        .from("--transfer-idle", "TRANSFER_IDLE", "plugin_options.jobs.transfer_idle"),
    ];
    PluginDescriptor {
        id: crate::plugin::ID,
        name: "Jobs",
        summary: "Jobs that outlive their request, and one-time transfers",
        args,
    }
}

fn arg(id: &'static str, kind: ArgType, description: &'static str, default: &'static str) -> ArgSpec {
    ArgSpec::new(id, kind, description).default(default)
}

/// The options as the program uses them.
#[derive(Debug, Clone)]
pub(crate) struct JobsOptions {
    pub(crate) enabled: bool,
    /// Kept in the state folder.
    pub(crate) durable: bool,
    /// `None`: clients need not look after their jobs.
    pub(crate) client_ttl: Option<Duration>,
    /// `None`: event streams stay.
    pub(crate) close_delay: Option<Duration>,
    pub(crate) lease: Millis,
    pub(crate) lease_max: Millis,
    pub(crate) queue_max: u64,
    pub(crate) body_bytes_max: u64,
    pub(crate) keys_max: usize,
    pub(crate) waiting_max: usize,
    pub(crate) watchers_max: usize,
    pub(crate) retention: Retention,
    pub(crate) spool_bytes_max: u64,
    pub(crate) spool_ttl: Millis,
    pub(crate) channels_max: usize,
    /// `None`: no limit.
    pub(crate) transfer_idle: Option<Duration>,
}

impl JobsOptions {
    /// Reads the options; text has the right types by now.
    pub(crate) fn read(options: &PluginOptions) -> Result<Self, OptionError> {
        let durable = match options.text("store") {
            "disk" | "" => true,
            "memory" => false,
            _ => return Err(options.refuse("store", "`disk` or `memory`")),
        };
        let number = |id: &str| {
            let number = u64::try_from(options.int(id)?).ok().filter(|number| *number > 0);
            number.ok_or_else(|| options.refuse(id, "a number of 1 or more"))
        };
        let count = |id: &str| number(id).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let some = |id: &str| options.duration(id).map(|span| Some(span).filter(|span| !span.is_zero()));
        let span = |id: &str| {
            let span = some(id)?.ok_or_else(|| options.refuse(id, "a duration above 0"))?;
            Ok(Millis::default() + span)
        };
        Ok(Self {
            enabled: options.flag("enabled")?,
            durable,
            client_ttl: some("client_ttl")?,
            close_delay: close_delay(options)?,
            lease: span("lease")?,
            lease_max: span("lease_max")?,
            queue_max: number("queue_max")?,
            body_bytes_max: number("body_bytes_max")?,
            keys_max: count("keys_max")?,
            waiting_max: count("waiting_max")?,
            watchers_max: count("watchers_max")?,
            retention: Retention { done: span("keep_done")?, failed: span("keep_failed")? },
            spool_bytes_max: number("spool_bytes_max")?,
            spool_ttl: span("spool_ttl")?,
            channels_max: count("channels_max")?,
            transfer_idle: some("transfer_idle")?,
        })
    }
}

/// 0 is at once here, and what is below it never (jobs contract §5).
fn close_delay(options: &PluginOptions) -> Result<Option<Duration>, OptionError> {
    if options.text("sse_close_delay").starts_with('-') {
        return Ok(None);
    }
    options.duration("sse_close_delay").map(Some)
}
