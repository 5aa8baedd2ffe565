//! `nfrx keys`: named keys in the files that a server reads. A key is told once, when it
//! is made; the file holds its digest only.

mod file;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use nfrx_server::{KeyList, NamedKey};
use nfrx_spi::{Scopes, Secret};

use super::{CommandName, config_dir};
use crate::random_key::random_key;

const NAME: &str = "name";
const FILE: &str = "file";
const AGENTS: &str = "agents";

pub(super) fn with_subcommands(command: Command) -> Command {
    let file = Arg::new(FILE)
        .long(FILE)
        .value_name("PATH")
        .help("The file of keys; by default the one that the server's settings name as API_KEYS_FILE");
    let agents = Arg::new(AGENTS)
        .long(AGENTS)
        .action(ArgAction::SetTrue)
        .help("The keys of agents (CLIENT_KEYS_FILE) instead of those of clients");
    let name =
        Arg::new(NAME).value_name("NAME").required(true).help("The key's name, seen in logs and metrics");
    let list = |id: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name("LIST").value_delimiter(',').help(help)
    };
    let add = Command::new("add")
        .about("Makes a key, prints it once and keeps its digest")
        .arg(name.clone())
        .arg(list("services", "Plugin ids that it may use; all when left out"))
        .arg(list("models", "Models that it may ask for; all when left out"))
        .arg(list("workers", "Worker ids that it may register or reach; all when left out"))
        .arg(Arg::new("admin").long("admin").action(ArgAction::SetTrue).help("Lets it drain and disconnect"));
    let of_file = |command: Command| command.arg(file.clone()).arg(agents.clone());
    command
        .subcommand_required(true)
        .subcommand(of_file(add))
        .subcommand(of_file(Command::new("list").about("Lists names and scopes")))
        .subcommand(of_file(Command::new("revoke").about("Removes a key").arg(name)))
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let Some((action, matches)) = matches.subcommand() else { bail!("say add, list or revoke") };
    let path = path(matches)?;
    match action {
        "add" => add(&path, matches),
        "revoke" => revoke(&path, matches),
        _ => {
            let text = listing(&file::read(&path)?);
            Ok(std::io::stdout().write_all(text.as_bytes())?)
        }
    }
}

fn add(path: &std::path::Path, matches: &ArgMatches) -> anyhow::Result<()> {
    let many = |id: &str| matches.get_many::<String>(id).into_iter().flatten().cloned().collect();
    let scopes = Scopes {
        services: many("services"),
        models: many("models"),
        workers: many("workers"),
        admin: matches.get_flag("admin"),
    };
    let name = name(matches);
    let key = random_key()?;
    file::change(path, |keys| Ok(keys.add(name, &Secret::new(&key), scopes)?))?;
    // Standard output holds the key and nothing else, for scripts.
    eprintln!("`{name}` is in {}. This is its key; it is not kept and not shown again:", path.display());
    writeln!(std::io::stdout(), "{key}")?;
    Ok(())
}

fn revoke(path: &std::path::Path, matches: &ArgMatches) -> anyhow::Result<()> {
    let name = name(matches);
    file::change(path, |keys| match keys.revoke(name) {
        true => Ok(()),
        false => bail!("no key is called `{name}`: `nfrx keys list` tells the names"),
    })?;
    eprintln!("`{name}` is revoked; a running server knows within seconds");
    Ok(())
}

fn name(matches: &ArgMatches) -> &str {
    matches.get_one::<String>(NAME).map_or("", String::as_str)
}

/// The file that was named, else the one in the server's settings.
fn path(matches: &ArgMatches) -> anyhow::Result<PathBuf> {
    if let Some(path) = matches.get_one::<String>(FILE) {
        return Ok(path.into());
    }
    let (id, setting) = match matches.get_flag(AGENTS) {
        true => ("client_keys_file", "CLIENT_KEYS_FILE"),
        false => ("api_keys_file", "API_KEYS_FILE"),
    };
    let server = CommandName::Server;
    let env = |name: &str| std::env::var(name).ok();
    let loaded = server
        .catalogue()
        .load(&config_dir().join(server.file()), &env, &ArgMatches::default())
        .context("the server's settings, which name the file of keys")?;
    match loaded.group(server.text()).text(id) {
        "" => bail!("no file of keys is set: name it with --file, and to the server as {setting}"),
        path => Ok(path.into()),
    }
}

fn listing(keys: &KeyList) -> String {
    let mut text = String::from("NAME\tSERVICES\tMODELS\tWORKERS\tADMIN\tSHA256\n");
    for NamedKey { name, sha256, services, models, workers, admin } in keys.keys() {
        let all_or = |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(",") };
        let short = sha256.get(..12).unwrap_or(sha256);
        let admin = if *admin { "yes" } else { "no" };
        let columns = [name, &all_or(services), &all_or(models), &all_or(workers), admin, short];
        text.push_str(&columns.join("\t"));
        text.push('\n');
    }
    text
}
