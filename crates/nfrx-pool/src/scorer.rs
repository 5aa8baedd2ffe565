//! Scorers: how well a worker that offers one label suits work that wants another
//! (HTTP contract §6).

use nfrx_spi::Scorer;

/// The exact label scores 1, a label with the same alias key 0.5, any other 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct AliasScorer;

impl Scorer for AliasScorer {
    fn score(&self, wanted: &str, offered: &str) -> f64 {
        if wanted == offered {
            return 1.0;
        }
        match (alias_key(wanted), alias_key(offered)) {
            (Some(wanted), Some(offered)) if wanted == offered => 0.5,
            _ => 0.0,
        }
    }
}

/// Every worker scores 1, whatever it offers: for services without labels.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyScorer;

impl Scorer for AnyScorer {
    fn score(&self, _wanted: &str, _offered: &str) -> f64 {
        1.0
    }

    fn score_any(&self, _wanted: &str) -> f64 {
        1.0
    }
}

/// The part of a model's name that its quantisations share: `llama2:7b` of
/// `llama2:7b-q4_0` (HTTP contract §6.1). `None` when the name has no such form.
pub fn alias_key(model: &str) -> Option<&str> {
    let colon = model.find(':')?;
    let tag = &model[colon + 1..];
    let end = tag.find('-').unwrap_or(tag.len());
    let (base, tail) = tag.split_at(end);
    let well_formed = colon > 0
        && !base.is_empty()
        && !base.contains(char::is_whitespace)
        // A dash needs a tail, and the tail stays on its line.
        && (tail.is_empty() || (tail.len() > 1 && !tail.contains('\n')));
    well_formed.then(|| &model[..colon + 1 + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(model: &str, key: Option<&str>) {
        assert_eq!(alias_key(model), key, "alias key of `{model}`");
    }

    #[test]
    fn alias_keys_are_those_of_the_contract() {
        check("llama2:7b-q4_0", Some("llama2:7b"));
        check("llama2:7b", Some("llama2:7b"));
        check("mistral:7b-q5_k_m", Some("mistral:7b"));
        check("hf.co/u/m:Q4_K_M", Some("hf.co/u/m:Q4_K_M"));
        check("a:b:c-d", Some("a:b:c"));
        check("a:b-c d-e", Some("a:b"));
        for none in ["llama2-7b-q4_0", "llama3", "qwen:7b-", ":7b", "m: 7b", "m:", "", ":", "m:-x"] {
            check(none, None);
        }
    }

    #[test]
    fn exact_is_better_than_alias_and_alias_than_nothing() {
        let score = |wanted, offered| AliasScorer.score(wanted, offered);
        assert_eq!(score("m:7b-a", "m:7b-a"), 1.0);
        assert_eq!(score("m:7b-a", "m:7b-b"), 0.5);
        assert_eq!(score("m:7b", "m:7b-b"), 0.5);
        assert_eq!(score("m:7b", "m:8b"), 0.0);
        assert_eq!(score("plain", "other"), 0.0);
        assert_eq!(AliasScorer.score_any("m"), 0.0);
    }
}
