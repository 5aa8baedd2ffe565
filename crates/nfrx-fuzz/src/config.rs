//! Settings: flags, variables (`NAME=value`) and a YAML file, a line of `%%` between them. They
//! are read or refused with a reason; what is read has its type and comes from where it is
//! set first; a reason quotes no file. The file is also read as one of keys and of servers.

use std::cell::RefCell;
use std::fs;
use std::sync::LazyLock;

use clap::Command;
use nfrx_asr::AsrFactory;
use nfrx_llm::LlmFactory;
use nfrx_mcp::McpFactory;
use nfrx_mcp::fuzzing::servers;
use nfrx_runtime::options::{Catalogue, LoadError, Loaded};
use nfrx_server::{DEAD_KEYS, KeyList, KeyListError, ServerConfig, core_specs};
use nfrx_spi::{ArgSpec, ArgType, PluginFactory as _, PluginOptions};
use tempfile::NamedTempFile;

/// Stands in the environment and in files, and must stand nowhere else.
const SECRET: &str = "hunter2hunter2";

const SERVER: &str = "server";

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut catalogue = Catalogue::new();
    catalogue.add(SERVER, core_specs()).dead_keys(DEAD_KEYS);
    for descriptor in [AsrFactory.descriptor(), LlmFactory.descriptor(), McpFactory.descriptor()] {
        catalogue.add(descriptor.id, descriptor.args);
    }
    catalogue
});

thread_local! {
    static FILE: NamedTempFile = NamedTempFile::new().expect("a folder for files that pass");
    // Building it takes longer than reading flags.
    static COMMAND: RefCell<Command> =
        RefCell::new(Command::new("nfrx").no_binary_name(true).args(CATALOGUE.args()));
}

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, "\n%%\n");
    let mut part = || parts.next().unwrap_or_default();
    let (flags, variables, yaml) = (part(), part(), part());
    keys(yaml);
    served(yaml);
    let flags = CATALOGUE.normalise(flags.lines().map(str::to_owned));
    assert_eq!(CATALOGUE.normalise(flags.clone()), flags, "twice is another");
    let matches = COMMAND.with_borrow_mut(|command| command.try_get_matches_from_mut(flags));
    // What clap refuses is its own business, and its texts are for whoever typed the flags.
    let Ok(matches) = matches else { return };
    let variable = |name: &str| {
        let found = variables.lines().filter_map(|line| line.split_once('='));
        found.filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).next_back()
    };
    let loaded = FILE.with(|file| {
        fs::write(file.path(), yaml).expect("it can be written");
        // The file is always that one.
        let env = |name: &str| if name == "CONFIG_FILE" { None } else { variable(name) };
        CATALOGUE.load(file.path(), &env, &matches)
    });
    match loaded {
        Ok(loaded) => judge(&loaded, &matches, &variable),
        Err(LoadError::Malformed { problem, .. }) => assert!(!problem.contains(SECRET), "{problem}"),
        Err(_) => {}
    }
}

fn judge(loaded: &Loaded, matches: &clap::ArgMatches, variable: &dyn Fn(&str) -> Option<String>) {
    for (group, spec) in CATALOGUE.rows() {
        let options = loaded.group(group);
        typed(&options, spec);
        let by_flag = matches.try_get_one::<String>(spec.flag.trim_start_matches('-')).ok().flatten();
        let by_variable = variable(spec.env).filter(|text| !text.is_empty() && spec.env != "CONFIG_FILE");
        if let Some(set) = by_flag.or(by_variable.as_ref()) {
            assert_eq!(options.text(spec.id), set, "{} is set elsewhere", spec.id);
        }
    }
    let is_shown = |spec: &ArgSpec| !spec.secret && !spec.id.contains("config_file");
    let shown = CATALOGUE
        .rows()
        .any(|(group, spec)| is_shown(spec) && loaded.group(group).text(spec.id).contains(SECRET));
    assert!(shown || !loaded.warnings.iter().any(|warning| warning.contains(SECRET)));
    if let Err(error) = ServerConfig::from_options(loaded, SERVER, &["asr", "llm", "mcp"]) {
        assert!(shown || !error.to_string().contains(SECRET), "{error}");
    }
}

/// What was read has its option's type.
fn typed(options: &PluginOptions, spec: &ArgSpec) {
    let text = options.text(spec.id).trim();
    if text.is_empty() {
        return;
    }
    let is_read = match spec.kind {
        ArgType::String => true,
        ArgType::Int => options.int(spec.id).is_ok(),
        ArgType::Number => options.number(spec.id).is_ok(),
        ArgType::Bool => options.flag(spec.id).is_ok(),
        // Less than nothing means without a limit, to those that know it.
        ArgType::Duration => text.starts_with('-') || options.duration(spec.id).is_ok(),
    };
    assert!(is_read, "{} is `{text}`", spec.id);
}

/// A file of keys is read as it was written, and a reason names names only.
fn keys(yaml: &str) {
    match KeyList::parse(yaml) {
        Ok(list) => assert_eq!(KeyList::parse(&list.text()), Ok(list)),
        Err(error @ (KeyListError::Form { .. } | KeyListError::Name)) => {
            assert!(!error.to_string().contains(SECRET), "{error}");
        }
        Err(_) => {}
    }
}

/// A file of MCP servers takes secrets out of the environment, and shows none.
fn served(text: &str) {
    let env = |name: &str| (name == "KEY").then(|| SECRET.to_owned());
    if let Err(problem) = servers(text, &env) {
        assert!(text.contains(SECRET) || !problem.contains(SECRET), "{problem}");
    }
}
