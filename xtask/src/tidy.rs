//! `cargo xtask tidy`: the rules of this workspace that no compiler and no lint knows.
//!
//! Each rule is a plain function over names and text and gives its findings: where, what is wrong,
//! and what to do. Reading files and asking cargo and git happens here, at the edge.

mod arrows;
mod layout;
mod text;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::arrows::{Dependency, Package};
use crate::shell::{Workspace, capture};

/// Checks the whole workspace and prints every finding; fails when there is one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let files = files(workspace)?;
    let names: Vec<_> = files.iter().map(String::as_str).collect();
    let mut findings = arrows::check(&packages(workspace)?);
    findings.extend(layout::check(&names));
    for file in &files {
        // What is no text, or was deleted and not yet committed, has nothing to check.
        if let Ok(content) = fs::read_to_string(workspace.path(file)) {
            findings.extend(text::check(file, &content));
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files are in order", files.len());
            Ok(())
        }
        count => bail!("tidy found {count} thing(s) to put in order"),
    }
}

/// What git has or would take: files that are ignored are nobody's business.
fn files(workspace: &Workspace) -> Result<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = capture(workspace.command("git").args(arguments))?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

fn packages(workspace: &Workspace) -> Result<Vec<Package>> {
    let text = capture(&mut workspace.cargo("metadata --format-version 1 --no-deps --offline"))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata gave no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    packages.iter().map(package).collect()
}

fn package(package: &Value) -> Result<Package> {
    let manifest = Path::new(package["manifest_path"].as_str().context("a package without a manifest")?);
    let folder = manifest.parent().and_then(Path::file_name).context("a manifest without a folder")?;
    let dependencies = package["dependencies"].as_array().context("a package without dependencies")?;
    let dependency = |dependency: &Value| {
        let name = dependency["name"].as_str().context("a dependency without a name")?.to_owned();
        Ok(Dependency { name, dev: dependency["kind"] == "dev" })
    };
    Ok(Package {
        name: package["name"].as_str().context("a package without a name")?.to_owned(),
        folder: folder.to_string_lossy().into_owned(),
        dependencies: dependencies.iter().map(dependency).collect::<Result<_>>()?,
    })
}
