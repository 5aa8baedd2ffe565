//! What is kept of the inputs, played without the program that invents them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nfrx_fuzz::TARGETS;

/// An input that says one thing is small, and all together are read in a moment.
const INPUT_BYTES_MAX: usize = 4 * 1024;
const CORPUS_BYTES_MAX: usize = 200 * 1024;

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("a folder that can be read").path()).collect()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

// Seen to fail: with an input of a find whose fix was taken back.
#[test]
fn every_input_that_is_kept_keeps_all_promises() {
    for target in TARGETS {
        for path in entries(&corpus().join(target.name)) {
            let input = fs::read(&path).expect("a file that can be read");
            println!("{}", path.display());
            (target.run)(&input);
        }
    }
}

// Seen to fail: with a folder taken away, and with one of no target.
#[test]
fn every_target_has_inputs_and_no_others_are_kept() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let folders: BTreeSet<_> = entries(&corpus())
        .iter()
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, names);
    for name in names {
        assert!(!entries(&corpus().join(&name)).is_empty(), "{name} has no inputs");
    }
}

// Seen to fail: with a file of 5 KiB.
#[test]
fn inputs_are_small() {
    let mut all = 0;
    for folder in entries(&corpus()) {
        for path in entries(&folder) {
            let bytes = fs::metadata(&path).expect("a file").len() as usize;
            assert!(bytes <= INPUT_BYTES_MAX, "{} has {bytes} bytes", path.display());
            all += bytes;
        }
    }
    assert!(all <= CORPUS_BYTES_MAX, "the corpus has {all} bytes");
}
