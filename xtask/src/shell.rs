//! Other programs: started in the workspace's root, and echoed so that a person can repeat them.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The folder with the root manifest, where every command starts.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the root from what cargo tells a program it runs.
    ///
    /// Read at run time: a path compiled in would be wrong once the checkout has moved.
    pub(crate) fn find() -> Result<Self> {
        let xtask = env::var_os("CARGO_MANIFEST_DIR").context("start this through `cargo xtask`")?;
        let root = Path::new(&xtask).parent().context("the xtask package lies in the workspace's root")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// An absolute path from one relative to the root.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A command that starts in the root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// A cargo command; `line` is split at spaces. Does not hand on what cargo told us of our own package:
    /// build scripts that look at it would run again after each cargo command from a shell, and what
    /// stands on theirs would be compiled anew.
    pub(crate) fn cargo(&self, line: &str) -> Command {
        let mut command = self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os().filter(|(name, _)| is_of_our_package(name)) {
            command.env_remove(name);
        }
        command.args(line.split_whitespace());
        command
    }
}

/// Whether cargo sets this variable for the one package that it runs or compiles.
fn is_of_our_package(variable: &OsStr) -> bool {
    let variable = variable.to_string_lossy();
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// Echoes and runs `command` with our own standard output; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    echo(command);
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs `command`, which fetches something, as often as three times: a registry may break off a download.
pub(crate) fn fetch(command: &mut Command) -> Result<()> {
    for left in (0..FETCHES).rev() {
        match run(command) {
            Err(error) if left > 0 => println!("{error:#}; trying again"),
            outcome => return outcome,
        }
    }
    Ok(())
}

/// How often something is fetched before it counts as out of reach.
const FETCHES: usize = 3;

/// Runs `command` silently and tells whether it could be started and succeeded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs `command` silently and returns its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {}", name(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no UTF-8", name(command)))
}

/// Prints the line to type in order to do the same by hand.
pub(crate) fn echo(command: &Command) {
    println!("$ {}", line(command));
}

fn line(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name(command)).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// The program without its folder: `cargo` reads better than where rustup keeps it.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fetched(script: &str) -> bool {
        fetch(Command::new("sh").args(["-c", script])).is_ok()
    }

    // Seen to fail: with all variables handed on.
    #[test]
    fn cargo_is_not_told_of_our_own_package() {
        let removed: Vec<_> =
            Workspace::find().unwrap().cargo("tree").get_envs().map(|(name, _)| name.to_owned()).collect();
        // Cargo sets them for tests, too.
        assert!(removed.contains(&"CARGO_MANIFEST_DIR".into()) && removed.contains(&"CARGO_PKG_NAME".into()));
        assert!(!removed.contains(&"PATH".into()) && !removed.contains(&"CARGO".into()));
    }

    // Seen to fail: when the first failure is returned.
    #[test]
    fn a_download_that_broke_off_is_tried_again_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("tries").display().to_string();
        assert!(is_fetched(&format!("echo >> {log}; test $(wc -l < {log}) = {FETCHES}")));
        assert!(!is_fetched("false"));
    }
}
