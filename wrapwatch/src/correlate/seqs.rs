//! Which of a connection's records were seen. Two threads write them, so they may arrive slightly out of order: a gap is
//! only a loss once the story is over.

/// Numbers beyond this are not told apart; a connection before its first packet has some tens.
const TRACKED: u32 = 16 * 1024;

/// Record numbers seen, from 1.
#[derive(Debug, Default)]
pub(super) struct Seqs {
    /// Numbers up to 63: most connections have no more.
    first: u64,
    /// The others.
    bits: Vec<u64>,
    seen: u32,
    max: u32,
}

impl Seqs {
    /// Takes note of a record; 0 means that it has no number.
    pub(super) fn insert(&mut self, seq: u32) {
        if seq == 0 {
            return;
        }
        self.max = self.max.max(seq);
        if seq >= TRACKED {
            return;
        }
        let (word, bit) = Self::place(seq);
        let bits = match word {
            None => &mut self.first,
            Some(word) => {
                if self.bits.len() <= word {
                    self.bits.resize(word + 1, 0);
                }
                &mut self.bits[word]
            }
        };
        self.seen += u32::from(*bits & bit == 0);
        *bits |= bit;
    }

    /// Index into the others, and the bit.
    const fn place(seq: u32) -> (Option<usize>, u64) {
        ((seq as usize / 64).checked_sub(1), 1 << (seq % 64))
    }

    fn has(&self, seq: u32) -> bool {
        let (word, bit) = Self::place(seq);
        let bits = word.map_or(Some(&self.first), |word| self.bits.get(word));
        seq >= TRACKED || bits.is_some_and(|bits| bits & bit != 0)
    }

    /// How many between the first and the last are missing.
    pub(super) fn missing(&self) -> u32 {
        self.max.min(TRACKED - 1) - self.seen
    }

    /// Whether one between `from` and `to` is missing (0: to the last).
    pub(super) fn gap_between(&self, from: u32, to: u32) -> bool {
        let to = if to == 0 { self.max } else { to };
        self.missing() > 0 && (from.max(1)..to.min(TRACKED)).any(|seq| !self.has(seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_gaps_do() {
        let mut seqs = Seqs::default();
        for seq in [1, 2, 5, 4, 0, 7] {
            seqs.insert(seq);
        }
        assert_eq!(seqs.missing(), 2);
        assert!(seqs.gap_between(2, 4) && seqs.gap_between(5, 0));
        assert!(!seqs.gap_between(4, 5) && !seqs.gap_between(1, 2));
        for seq in [3, 6, 6] {
            seqs.insert(seq);
        }
        assert_eq!(seqs.missing(), 0);
        seqs.insert(u32::MAX);
        assert!(seqs.missing() > 0);
    }
}
