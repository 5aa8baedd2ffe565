//! Where files lie: modules have names in editor tabs, tests link once per crate.

/// Findings about the names of files, given relative to the root.
pub(super) fn check(paths: &[&str]) -> Vec<String> {
    paths.iter().filter_map(|path| mod_file(path).or_else(|| test_binary(path))).collect()
}

fn mod_file(path: &str) -> Option<String> {
    let folder = path.strip_suffix("/mod.rs")?;
    Some(format!("{path}: every editor tab would be called `mod.rs`; rename it to {folder}.rs"))
}

/// Each file in `tests/`, and each folder there with a `main.rs`, would link a binary of its own.
fn test_binary(path: &str) -> Option<String> {
    let (package, inside) = path.split_once("/tests/")?;
    let is_package =
        package == "xtask" || package.strip_prefix("crates/").is_some_and(|name| !name.contains('/'));
    let links = match inside.split('/').collect::<Vec<_>>()[..] {
        [file] => file.ends_with(".rs"),
        [folder, "main.rs"] => folder != "it",
        _ => false,
    };
    (is_package && links).then(|| {
        format!("{path}: would link a test binary of its own; make it a module of {package}/tests/it/main.rs")
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[track_caller]
    fn check_path(path: &str, in_order: bool) {
        assert_eq!(check(&[path]).is_empty(), in_order, "{path}");
    }

    #[test]
    fn modules_lie_beside_their_folders() {
        check_path("crates/nfrx-pool/src/slots.rs", true);
        check_path("crates/nfrx-pool/src/slots/guard.rs", true);
        // Seen to fail: without `mod_file` in `check`.
        check_path("crates/nfrx-pool/src/slots/mod.rs", false);
        check_path("crates/nfrx-pool/tests/it/slots/mod.rs", false);
    }

    #[test]
    fn a_crate_has_one_test_binary() {
        check_path("crates/nfrx-pool/tests/it/main.rs", true);
        check_path("crates/nfrx-pool/tests/it/queue.rs", true);
        check_path("crates/nfrx-pool/tests/data/frames.json", true);
        // Seen to fail: with `[file]` linking nothing.
        check_path("crates/nfrx-pool/tests/queue.rs", false);
        check_path("crates/nfrx-pool/tests/slow/main.rs", false);
        check_path("xtask/tests/tidy.rs", false);
    }

    #[test]
    fn a_unit_test_module_is_no_binary() {
        check_path("crates/nfrx-pool/src/queue/tests.rs", true);
        check_path("crates/nfrx-pool/src/tests/queue.rs", true);
        check_path("tests/python/real_engine.py", true);
    }
}
