//! Bytes cut into pieces, as a network may: nothing that is read may depend on it.

/// The bytes in one piece, byte by byte, and in pieces of drawn lengths. The same bytes are
/// always cut alike, so that a find can be repeated.
pub(crate) fn cuts(bytes: &[u8]) -> [Vec<&[u8]>; 4] {
    let mut dice = fastrand::Rng::with_seed(hash(bytes));
    let singles = bytes.chunks(1).collect();
    [vec![bytes], singles, drawn(bytes, &mut dice, 5), drawn(bytes, &mut dice, 200)]
}

fn drawn<'a>(mut bytes: &'a [u8], dice: &mut fastrand::Rng, length_max: usize) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(dice.usize(0..=length_max).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// FNV-1a: the same on every machine and with every compiler.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen to fail: with the last piece left out.
    #[test]
    fn every_cut_has_all_the_bytes() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for length in [0, 1, 2, 999] {
            for pieces in cuts(&bytes[..length]) {
                assert_eq!(pieces.concat(), bytes[..length]);
            }
        }
    }
}
