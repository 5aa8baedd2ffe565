use super::{Dependency, Package, check};

/// One crate per line, `name: a b +c`, where a plus marks a dependency of its tests.
fn parse(workspace: &str) -> Vec<Package> {
    let package = |line: &str| {
        let (name, dependencies) = line.split_once(':').unwrap();
        let dependency = |word: &str| Dependency {
            name: word.trim_start_matches('+').to_owned(),
            dev: word.starts_with('+'),
        };
        Package {
            name: name.trim().to_owned(),
            folder: name.trim().to_owned(),
            dependencies: dependencies.split_whitespace().map(dependency).collect(),
        }
    };
    workspace.lines().map(package).collect()
}

/// Beside the crates given, all those exist that a dependency could name.
#[track_caller]
fn check_arrow(line: &str, allowed: bool) {
    let mut packages = parse(line);
    for name in ["nfrx", "nfrx-llm", "nfrx-server", "nfrx-spi", "nfrx-sim", "nfrx-testkit", "nfrx-runtime"] {
        if packages[0].name != name {
            packages.extend(parse(&format!("{name}:")));
        }
    }
    let findings = check(&packages);
    assert_eq!(findings.is_empty(), allowed, "{line}: {findings:?}");
}

#[test]
fn a_plugin_and_the_server_never_see_each_other() {
    // Seen to fail: with the server among what a plugin may know.
    check_arrow("nfrx-llm: nfrx-server", false);
    check_arrow("nfrx-llm: +nfrx-server", false);
    check_arrow("nfrx-server: nfrx-llm", false);
    check_arrow("nfrx-server: +nfrx-llm", false);
}

#[test]
fn plugins_do_not_see_each_other() {
    check_arrow("nfrx-mcp: nfrx-llm", false);
}

#[test]
fn only_the_tests_of_a_plugin_see_the_testkit_and_the_demo_backend() {
    check_arrow("nfrx-llm: nfrx-spi +nfrx-testkit +nfrx-sim", true);
    check_arrow("nfrx-llm: nfrx-testkit", false);
    check_arrow("nfrx-llm: nfrx-sim", false);
    check_arrow("nfrx-server: +nfrx-testkit", false);
}

#[test]
fn arrows_point_down() {
    check_arrow("nfrx-spi: http bytes", true);
    check_arrow("nfrx-spi: nfrx-runtime", false);
    check_arrow("nfrx-runtime: nfrx-spi", true);
    check_arrow("nfrx-pool: nfrx-spi nfrx-runtime", false);
    check_arrow("nfrx-tunnel: nfrx-spi nfrx-runtime", true);
    check_arrow("xtask: nfrx-spi", false);
}

#[test]
fn the_binary_and_the_testkit_join_server_and_plugins() {
    check_arrow("nfrx: nfrx-server nfrx-llm nfrx-sim", true);
    check_arrow("nfrx-testkit: nfrx-server nfrx-llm", true);
}

#[test]
fn a_new_crate_must_say_where_it_stands() {
    check_arrow("nfrx-voice: nfrx-spi", false);
}

#[test]
fn a_folder_is_named_like_its_crate() {
    let mut packages = parse("nfrx-spi:");
    packages[0].folder = "spi".to_owned();
    assert_eq!(check(&packages).len(), 1);
}
