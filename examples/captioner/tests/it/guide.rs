//! The guide quotes this crate: every excerpt stands in the file it names, as it is.

use std::path::Path;

#[test]
fn every_excerpt_of_the_guide_stands_in_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("../../docs/plugin-guide.md")).expect("the guide");
    let mut excerpts = 0;
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(opening) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        if opening == "sh" {
            continue;
        }
        let (_, file) = opening.split_once(' ').expect("an excerpt names its file");
        let source = std::fs::read_to_string(root.join(file)).expect("a file of this crate is quoted");
        let excerpt = format!("{}\n", block.join("\n"));
        // Seen to fail: with a word of the guide changed.
        assert!(source.contains(&excerpt), "not in `{file}`:\n{excerpt}");
        excerpts += 1;
    }
    assert!(excerpts >= 8, "the guide shows the code");
}
