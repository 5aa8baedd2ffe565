//! What is still to be sent: neighbouring elements, cut off as workers take them.

use std::collections::VecDeque;

/// Neighbouring elements that are sent together, or will be cut before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) count: usize,
    /// How often it was sent in vain.
    pub(super) tries: u32,
}

/// Pieces in the order in which they go out; what failed goes first.
#[derive(Debug)]
pub(super) struct Pending(VecDeque<Piece>);

impl Pending {
    /// All elements, in one piece.
    pub(super) fn new(size: usize) -> Self {
        let all = Piece { start: 0, count: size, tries: 0 };
        Self((size > 0).then_some(all).into_iter().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Cuts off up to `count` elements, at least one.
    pub(super) fn take(&mut self, count: usize) -> Option<Piece> {
        let first = self.0.front_mut()?;
        let count = count.max(1);
        if first.count <= count {
            return self.0.pop_front();
        }
        let piece = Piece { count, ..*first };
        first.start += count;
        first.count -= count;
        Some(piece)
    }

    /// Takes a piece back that failed.
    pub(super) fn put_back(&mut self, piece: Piece) {
        self.0.push_front(Piece { tries: piece.tries + 1, ..piece });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_element_goes_out_once_whatever_is_cut_and_put_back(
            size in 0_usize..500,
            steps in prop::collection::vec((1_usize..60, prop::bool::ANY), 0..600),
        ) {
            let mut pending = Pending::new(size);
            let mut sent = vec![0; size];
            for (count, fails) in steps {
                let Some(piece) = pending.take(count) else { break };
                prop_assert!(piece.count >= 1 && piece.count <= count);
                if fails && piece.tries < 2 {
                    pending.put_back(piece);
                } else {
                    sent[piece.start..piece.start + piece.count].iter_mut().for_each(|n| *n += 1);
                }
            }
            while let Some(piece) = pending.take(7) {
                sent[piece.start..piece.start + piece.count].iter_mut().for_each(|n| *n += 1);
            }
            // Seen to fail: without moving the rest's start.
            prop_assert!(sent.iter().all(|n| *n == 1), "{sent:?}");
        }
    }
}
