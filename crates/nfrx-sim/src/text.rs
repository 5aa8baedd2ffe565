//! Words drawn from a seed, and the hash that makes a seed of a request.

use bytes::BufMut;

/// Plain ASCII without quotes or backslashes, so that a word is its own JSON form.
const WORDS: [&str; 64] = [
    "a", "and", "answer", "as", "at", "bird", "bridge", "but", "by", "carries", "clear", "cloud", "comes",
    "door", "down", "each", "early", "east", "far", "field", "finds", "for", "forest", "from", "garden",
    "goes", "green", "hill", "in", "is", "it", "keeps", "lake", "late", "light", "long", "meets", "morning",
    "near", "no", "of", "old", "on", "one", "path", "quiet", "rain", "river", "sea", "slow", "small", "snow",
    "stone", "the", "through", "to", "train", "tree", "under", "valley", "walks", "west", "wind", "with",
];

/// The longest word with its space.
const WORD_BYTES_MAX: usize = 8;

/// What fills a token that has to be longer than its word.
const PADDING: u8 = b'x';

/// Longest text of one token, whatever is asked for.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 << 20;

/// The tokens of one answer, in order. The same seed gives the same tokens.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    rng: fastrand::Rng,
    token_bytes: usize,
    first: bool,
}

impl Words {
    /// `token_bytes` is the exact length of each token; 0 leaves words as they are.
    pub(crate) fn new(seed: u64, token_bytes: usize) -> Self {
        let token_bytes = token_bytes.min(TOKEN_BYTES_MAX);
        Self { rng: fastrand::Rng::with_seed(seed), token_bytes, first: true }
    }

    /// Appends the next token's text.
    pub(crate) fn write_next(&mut self, out: &mut impl BufMut) {
        let word = WORDS[self.rng.usize(..WORDS.len())].as_bytes();
        let space: &[u8] = if std::mem::take(&mut self.first) { b"" } else { b" " };
        let length = if self.token_bytes == 0 { space.len() + word.len() } else { self.token_bytes };
        let mut left = length;
        for part in [space, word] {
            let part = &part[..part.len().min(left)];
            out.put_slice(part);
            left -= part.len();
        }
        out.put_bytes(PADDING, left);
    }

    /// The text of all `tokens`, one after the other.
    pub(crate) fn whole(mut self, tokens: u32) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.bytes_max(tokens).min(1 << 16));
        for _ in 0..tokens {
            self.write_next(&mut text);
        }
        text
    }

    /// No text of `tokens` is longer than this.
    pub(crate) fn bytes_max(&self, tokens: u32) -> usize {
        self.token_bytes_max().saturating_mul(tokens as usize)
    }

    /// No token is longer than this.
    pub(crate) fn token_bytes_max(&self) -> usize {
        if self.token_bytes == 0 { WORD_BYTES_MAX } else { self.token_bytes }
    }
}

/// A hash that stays the same over releases and machines, unlike the standard library's.
pub(crate) fn hash(seed: u64, parts: &[&[u8]]) -> u64 {
    parts.iter().fold(mix(seed, 0), |state, part| {
        let (words, rest) = part.as_chunks::<8>();
        let state = words.iter().fold(state, |state, word| mix(state, u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        mix(mix(state, u64::from_le_bytes(last)), part.len() as u64)
    })
}

fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
    (product as u64) ^ ((product >> 64) as u64).rotate_left(32)
}

/// Tokens of a prompt of so many bytes, by the usual rule of thumb.
pub(crate) fn prompt_tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, token_bytes: usize, tokens: u32) -> String {
        String::from_utf8(Words::new(seed, token_bytes).whole(tokens)).unwrap()
    }

    #[test]
    fn the_same_seed_says_the_same_and_another_seed_does_not() {
        assert_eq!(text(1, 0, 20), text(1, 0, 20));
        assert_ne!(text(1, 0, 20), text(2, 0, 20));
    }

    #[test]
    fn natural_words_are_parted_by_single_spaces() {
        let text = text(3, 0, 100);
        assert_eq!(text.split(' ').count(), 100);
        assert!(text.split(' ').all(|word| WORDS.contains(&word)), "{text}");
        assert!(text.len() <= Words::new(3, 0).bytes_max(100));
    }

    #[test]
    fn a_token_has_exactly_the_bytes_asked_for() {
        // Seen to fail: without the cut of a longer word.
        for token_bytes in [1, 2, 5, 100] {
            assert_eq!(text(4, token_bytes, 10).len(), token_bytes * 10);
        }
    }

    #[test]
    fn a_hash_tells_contents_borders_and_seeds_apart() {
        let of = |seed, parts: &[&str]| {
            let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
            hash(seed, &parts)
        };
        let hashes = [of(0, &["ab", "c"]), of(0, &["a", "bc"]), of(1, &["ab", "c"]), of(0, &["ab", "c", ""])];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[index + 1..].contains(hash), "{hashes:?}");
        }
    }
}
