//! What files say: their size, their opening words, and words that must not stay.
//!
//! The words are put together from halves here, so that this file does not contain them itself.

/// Longer files have a second noun.
const LINES_MAX: usize = 600;

/// Work somebody meant to come back to.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("#[ig", "nore"),
];

/// Folders that exist on one machine only.
const MACHINE_FOLDERS: &[&str] = &[concat!("/ro", "ot/"), concat!("/wo", "rk/")];
const HOMES: &str = concat!("/ho", "me/");

/// Where packages come from is each machine's own setting.
const REGISTRIES: &[&str] = &[
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("deb.", "debian.org"),
];

/// Findings about one file, its path given relative to the root.
pub(super) fn check(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if path.ends_with(".rs") {
        findings.extend(long(path, text));
        findings.extend(no_opening(path, text));
    }
    if path == "Cargo.toml" || path.ends_with("/Cargo.toml") {
        findings.extend(no_lints(path, text));
    }
    for (index, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", index + 1);
        if path.ends_with(".rs") {
            findings.extend(unfinished(&place, line));
        }
        if !is_lock_file(path) {
            findings.extend(machine_path(&place, line));
            findings.extend(registry(&place, line));
        }
    }
    findings
}

/// Lock files are written by tools, which name registries in them.
fn is_lock_file(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("package-lock.json")
}

fn long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let advice = "name its second noun and give it a file";
    (lines > LINES_MAX).then(|| format!("{path}: has {lines} lines, {LINES_MAX} at most; {advice}"))
}

/// Tests in a file of their own are introduced by the module they test.
fn no_opening(path: &str, text: &str) -> Option<String> {
    let is_tests = path.rsplit('/').next() == Some("tests.rs");
    let opens = text.trim_start().starts_with("//!");
    (!is_tests && !opens)
        .then(|| format!("{path}: open it with `//!`: what it is for, and what it stays out of"))
}

/// The root manifest has no lints of its own to take over: it is where they are written.
fn no_lints(path: &str, text: &str) -> Option<String> {
    let is_root = text.lines().any(|line| line.trim() == "[workspace]");
    let section = text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    let inherits = section
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.replace(' ', "") == "workspace=true");
    (!is_root && !inherits)
        .then(|| format!("{path}: lints are not on; add `[lints]` with `workspace = true`"))
}

fn unfinished(place: &str, line: &str) -> Option<String> {
    let word = UNFINISHED.iter().find(|word| stands_alone(line, word))?;
    Some(format!("{place}: `{word}` is work left behind; finish it, or file an issue and remove the mark"))
}

fn machine_path(place: &str, line: &str) -> Option<String> {
    let folder = MACHINE_FOLDERS.iter().find(|folder| starts_a_path(line, folder).next().is_some()).copied();
    let folder = folder.or_else(|| starts_a_path(line, HOMES).any(names_a_home).then_some(HOMES))?;
    Some(format!(
        "{place}: `{folder}…` exists on one machine only; take the path as an option or make it relative"
    ))
}

fn registry(place: &str, line: &str) -> Option<String> {
    let host = REGISTRIES.iter().find(|host| line.contains(**host))?;
    Some(format!("{place}: names {host}; each machine has its own settings for registries, so leave it out"))
}

/// Whether `word` occurs without letters, digits or `_` around it.
fn stands_alone(line: &str, word: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word))
}

/// What follows `folder` wherever it begins an absolute path, not in the middle of one.
fn starts_a_path<'a>(line: &'a str, folder: &'a str) -> impl Iterator<Item = &'a str> {
    let goes_on = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "_-.}>/*".contains(c));
    let found = line.match_indices(folder).filter(move |(at, _)| !goes_on(&line[..*at]));
    found.map(|(at, _)| &line[at + folder.len()..])
}

/// `somebody/…`, but not the `<name>/…` of an explanation.
fn names_a_home(rest: &str) -> bool {
    let name_end = rest.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)));
    name_end.is_some_and(|end| rest[end..].starts_with('/'))
}

#[cfg(test)]
mod tests;
