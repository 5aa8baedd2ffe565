//! Which crate may know which: arrows point down, and only a binary joins server and plugins.

use std::collections::BTreeSet;

/// A crate of this workspace, as far as the rules look at it.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// The last part of its folder's path.
    pub(super) folder: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// One of a crate's dependencies, inside or outside the workspace.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// For tests only.
    pub(super) dev: bool,
}

/// What a plugin may know: never the server, never another plugin.
const PLUGIN: &[&str] = &["nfrx-agent", "nfrx-pool", "nfrx-runtime", "nfrx-spi", "nfrx-tunnel"];
/// What a plugin's tests may know on top.
const PLUGIN_TESTS: &[&str] = &["nfrx-sim", "nfrx-testkit"];
/// What the tests of any other crate may know on top: a backend to talk to.
const OTHER_TESTS: &[&str] = &["nfrx-sim"];

/// The place of a crate among the others.
enum Place {
    /// Knows these crates at most.
    Knows(&'static [&'static str]),
    /// One kind of service.
    Plugin,
    /// Joins the others, so it may know all of them.
    Joins,
}

fn place(name: &str) -> Option<Place> {
    Some(match name {
        "nfrx-spi" | "xtask" => Place::Knows(&[]),
        "nfrx-runtime" | "nfrx-pool" => Place::Knows(&["nfrx-spi"]),
        "nfrx-bench" => Place::Knows(&["nfrx-runtime", "nfrx-sim", "nfrx-spi", "nfrx-tunnel"]),
        "nfrx-server" | "nfrx-sim" | "nfrx-tunnel" => Place::Knows(&["nfrx-runtime", "nfrx-spi"]),
        "nfrx-agent" => Place::Knows(&["nfrx-runtime", "nfrx-spi", "nfrx-tunnel"]),
        "nfrx-jobs-cli" => Place::Knows(&["nfrx-agent", "nfrx-runtime", "nfrx-spi"]),
        "nfrx-asr" | "nfrx-docling" | "nfrx-jobs" | "nfrx-llm" | "nfrx-mcp" => Place::Plugin,
        "nfrx" | "nfrx-conformance" | "nfrx-counts" | "nfrx-fuzz" | "nfrx-soak" | "nfrx-testkit" => {
            Place::Joins
        }
        _ => return None,
    })
}

impl Place {
    fn allows(&self, dependency: &Dependency) -> bool {
        let name = dependency.name.as_str();
        match self {
            Self::Knows(names) => names.contains(&name) || dependency.dev && OTHER_TESTS.contains(&name),
            Self::Plugin => PLUGIN.contains(&name) || dependency.dev && PLUGIN_TESTS.contains(&name),
            Self::Joins => true,
        }
    }

    fn limits(&self) -> String {
        match self {
            Self::Knows([]) => "it may know no other crate of this workspace".to_owned(),
            Self::Knows(names) => format!("it may only know {}", names.join(", ")),
            Self::Plugin => format!(
                "a plugin may only know {}, and its tests {}",
                PLUGIN.join(", "),
                PLUGIN_TESTS.join(", ")
            ),
            Self::Joins => "it may know all".to_owned(),
        }
    }
}

/// Findings about the arrows between crates and about their folders' names.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let members: BTreeSet<_> = packages.iter().map(|package| package.name.as_str()).collect();
    packages.iter().flat_map(|package| judge(package, &members)).collect()
}

fn judge(package: &Package, members: &BTreeSet<&str>) -> Vec<String> {
    let Package { name, folder, dependencies } = package;
    let mut findings = Vec::new();
    if name != folder {
        findings.push(format!("{name}: lies in a folder named `{folder}`; rename one after the other"));
    }
    let Some(place) = place(name) else {
        findings.push(format!("{name}: has no place yet; say in xtask/src/tidy/arrows.rs what it may know"));
        return findings;
    };
    let inside = dependencies.iter().filter(|dependency| members.contains(dependency.name.as_str()));
    for dependency in inside.filter(|dependency| !place.allows(dependency)) {
        findings.push(format!(
            "{name}: depends on {}, but {}; move what both need down, or hand it over from crates/nfrx",
            dependency.name,
            place.limits()
        ));
    }
    findings
}

#[cfg(test)]
mod tests;
