//! `nfrx jobs`: the jobs API from a shell, for clients and for workers.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nfrx_jobs_cli::{Api, Hours, ListPlan, SubmitPlan, WorkPlan};
use nfrx_runtime::signals;
use nfrx_spi::Secret;
use serde_json::{Map, Value};

/// Where the server is, unless somebody says otherwise.
const URL: &str = "http://127.0.0.1:8080";

pub(super) fn with_subcommands(command: Command) -> Command {
    let key_help = |who: &str, name: &str| format!("The key of {who}; by default {name} of the environment");
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .help(format!("Where the server is; by default NFRX_URL of the environment, else {URL}"));
    let api_key = Arg::new("key").long("api-key").value_name("KEY").help(key_help("clients", "API_KEY"));
    let client_key = Arg::new("key")
        .long("client-key")
        .value_name("KEY")
        .help(key_help("agents and workers", "CLIENT_KEY"));
    let of_client = |command: Command| command.arg(url.clone()).arg(api_key.clone());
    command
        .subcommand_required(true)
        .subcommand(of_client(submit_command()))
        .subcommand(of_client(list_command()))
        .subcommand(of_client(Command::new("show").about("Prints a job as JSON").arg(id())))
        .subcommand(of_client(
            Command::new("watch")
                .about("Follows a job to its end, with what its program says")
                .arg(id())
                .arg(json()),
        ))
        .subcommand(of_client(Command::new("cancel").about("Gives jobs up").arg(id().num_args(1..))))
        .subcommand(work_command().arg(url.clone()).arg(client_key))
}

fn id() -> Arg {
    Arg::new("id").value_name("JOB").required(true).help("The job's id")
}

fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("One JSON object a line")
}

fn text(id: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(id).long(id).value_name(value).help(help)
}

fn count(id: &'static str, help: &'static str, default: &'static str) -> Arg {
    let counts: ValueParser = value_parser!(u32).range(1..).into();
    text(id, "N", help).value_parser(counts).default_value(default)
}

fn many(arg: Arg) -> Arg {
    arg.action(ArgAction::Append)
}

fn submit_command() -> Command {
    Command::new("submit")
        .about("Makes a job of each file, waits, and fetches the results; goes on where it stopped")
        .arg(Arg::new("file").value_name("FILE").num_args(0..).value_parser(value_parser!(PathBuf)).help(
            "The payloads; none or `-` is standard input",
        ))
        .arg(text("type", "TYPE", "What kind of job it is").required(true))
        .arg(
            text("output", "PATH", "A folder for results and the list of them, nfrx-jobs.json; for one payload also a file. Standard output if left out")
                .short('o')
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(text("suffix", "TEXT", "What stands behind a payload's name in its result's").default_value(".out"))
        .arg(count("concurrency", "The most jobs at once", "4"))
        .arg(text("metadata", "JSON", "An object for the worker"))
        .arg(text("priority", "N", "Higher goes first").value_parser(value_parser!(i64)).allow_negative_numbers(true))
        .arg(many(text("label", "LABEL", "What the worker must have, such as `gpu=a100` or `vram>=16`")))
        .arg(many(text("tag", "TAG", "For finding it in lists")))
        .arg(count("max-attempts", "How often it is tried at most", "3"))
        .arg(text("retry-delay", "SECONDS", "Tries again what failed, after so long, then twice that").value_parser(value_parser!(u32).range(1..)))
}

fn list_command() -> Command {
    Command::new("list")
        .about("Lists jobs, newest first")
        .arg(text("status", "STATUS", "queued, claimed, running, completed, failed, canceled …"))
        .arg(text("type", "TYPE", "Of this type"))
        .arg(text("tag", "TAG", "With this tag"))
        .arg(text("worker", "ID", "Of this worker"))
        .arg(count("limit", "The most jobs", "50"))
        .arg(json())
}

fn work_command() -> Command {
    let seconds = |id, help, default| count(id, help, default).value_name("SECONDS");
    Command::new("work")
        .about("Runs a program for each job: payload on standard input, result from standard output")
        .after_help("The program is not read by a shell. It finds NFRX_JOB_ID, NFRX_JOB_TYPE and NFRX_JOB_METADATA in its environment; lines on file descriptor 3 are its progress: a number of percent, a JSON object, or words. Standard error goes to who watches, its last lines into the error. SIGUSR1 pauses the worker, SIGUSR2 lets it go on.")
        .arg(many(text("type", "TYPE", "The kinds of jobs that it does; all if left out")))
        .arg(count("slots", "The most jobs at once", "1"))
        .arg(text("worker-id", "ID", "What it calls itself; by default the machine's name"))
        .arg(text("group", "GROUP", "The group that it belongs to"))
        .arg(many(text("label", "LABEL", "What its machine has, such as `gpu=a100` or `vram=24`")))
        .arg(seconds("lease", "For how long the server waits for a sign of life", "60"))
        .arg(seconds("drain-timeout", "For how long running jobs may go on when it is told to stop", "60"))
        .arg(text("hours", "FROM-TO", "When it works, by the machine's clock, such as 22:00-06:00").value_parser(value_parser!(Hours)))
        .arg(Arg::new("no-input").long("no-input").action(ArgAction::SetTrue).help("The jobs have no payload"))
        .arg(Arg::new("no-output").long("no-output").action(ArgAction::SetTrue).help("The jobs have no result"))
        .arg(Arg::new("command").value_name("COMMAND").num_args(1..).last(true).required(true).help("The program and what it is told"))
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let Some((action, matches)) = matches.subcommand() else { bail!("say what to do: `nfrx jobs --help`") };
    let level = if action == "work" { "info" } else { "warn" };
    nfrx_runtime::logs::init(level).context("the log can't be started")?;
    let from_env = |name: &str| std::env::var(name).unwrap_or_default();
    let given = |id: &str| matches.get_one::<String>(id).cloned();
    let url = given("url").unwrap_or_else(|| from_env("NFRX_URL"));
    let url = if url.is_empty() { URL } else { &url };
    let key_name = if action == "work" { "CLIENT_KEY" } else { "API_KEY" };
    let api = Api::new(url, &Secret::new(given("key").unwrap_or_else(|| from_env(key_name))))?;
    super::runtime(1)?.block_on(async {
        let doing = async {
            match action {
                "submit" => nfrx_jobs_cli::submit(&api, submit_plan(matches)?).await,
                "list" => nfrx_jobs_cli::list(&api, &list_plan(matches)).await,
                "show" => nfrx_jobs_cli::show(&api, &one(matches, "id")).await,
                "watch" => nfrx_jobs_cli::watch(&api, &one(matches, "id"), matches.get_flag("json")).await,
                "cancel" => nfrx_jobs_cli::cancel(&api, &all(matches, "id")).await,
                _ => {
                    let stop = signals::terminate()?;
                    nfrx_jobs_cli::work(api.clone(), work_plan(matches), stop, signals::terminate_again()?)
                        .await
                }
            }
        };
        doing.await
    })
}

fn one(matches: &ArgMatches, id: &str) -> String {
    matches.get_one::<String>(id).cloned().unwrap_or_default()
}

fn all(matches: &ArgMatches, id: &str) -> Vec<String> {
    matches.get_many::<String>(id).into_iter().flatten().cloned().collect()
}

fn number(matches: &ArgMatches, id: &str) -> u32 {
    matches.get_one::<u32>(id).copied().unwrap_or(1)
}

fn submit_plan(matches: &ArgMatches) -> anyhow::Result<SubmitPlan> {
    let mut order = Map::new();
    order.insert("type".to_owned(), one(matches, "type").into());
    if let Some(text) = matches.get_one::<String>("metadata") {
        let metadata: Map<String, Value> =
            serde_json::from_str(text).context("`--metadata` must be a JSON object")?;
        order.insert("metadata".to_owned(), metadata.into());
    }
    if let Some(priority) = matches.get_one::<i64>("priority") {
        order.insert("priority".to_owned(), (*priority).into());
    }
    for (id, member) in [("label", "labels"), ("tag", "tags")] {
        order.insert(member.to_owned(), all(matches, id).into());
    }
    order.insert("max_attempts".to_owned(), number(matches, "max-attempts").into());
    if let Some(seconds) = matches.get_one::<u32>("retry-delay") {
        order.insert("retry_delay_seconds".to_owned(), (*seconds).into());
    }
    let files: Vec<PathBuf> = matches.get_many("file").into_iter().flatten().cloned().collect();
    if files.is_empty() && std::io::stdin().is_terminal() {
        eprintln!("reading the payload from standard input; name a file to send that");
    }
    Ok(SubmitPlan {
        files,
        output: matches.get_one::<PathBuf>("output").cloned(),
        suffix: one(matches, "suffix"),
        concurrency: number(matches, "concurrency") as usize,
        order,
    })
}

fn list_plan(matches: &ArgMatches) -> ListPlan {
    let filters = [("status", "status"), ("type", "type"), ("tag", "tag"), ("worker_id", "worker")];
    ListPlan {
        filters: filters.into_iter().map(|(name, id)| (name, one(matches, id))).collect(),
        limit: number(matches, "limit") as usize,
        json: matches.get_flag("json"),
    }
}

fn work_plan(matches: &ArgMatches) -> WorkPlan {
    let seconds = |id| Duration::from_secs(number(matches, id).into());
    let host = || nfrx_agent::host_facts().remove("hostname").unwrap_or_else(|| "shell".to_owned());
    WorkPlan {
        kinds: all(matches, "type"),
        slots: number(matches, "slots") as usize,
        worker_id: matches.get_one::<String>("worker-id").cloned().unwrap_or_else(host),
        group: one(matches, "group"),
        labels: all(matches, "label"),
        lease: seconds("lease"),
        has_input: !matches.get_flag("no-input"),
        has_output: !matches.get_flag("no-output"),
        hours: matches.get_one::<Hours>("hours").copied(),
        drain: seconds("drain-timeout"),
        command: all(matches, "command"),
    }
}
