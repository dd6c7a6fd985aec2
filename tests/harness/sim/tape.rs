//! Where every decision of a run comes from: a generator with a seed, or a list saved before.

/// Hands out the numbers that decide a run, and keeps what it handed out.
#[derive(Debug)]
pub struct Tape {
    source: Source,
    drawn: Vec<u32>,
}

#[derive(Debug)]
enum Source {
    /// `SplitMix64` (Steele, Lea, Flood 2014): one word of state, the same on every machine.
    Seed(u64),
    Saved(std::vec::IntoIter<u32>),
}

impl Tape {
    /// The tape of a seed. Streams of one seed have nothing in common.
    pub fn of_seed(seed: u64, stream: u64) -> Self {
        let state = seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Self { source: Source::Seed(state), drawn: Vec::new() }
    }

    /// A tape that was saved. After its end come zeros, which every decision takes as "nothing
    /// happens" or as the first of its choices.
    pub fn saved(numbers: Vec<u32>) -> Self {
        Self { source: Source::Saved(numbers.into_iter()), drawn: Vec::new() }
    }

    /// What was drawn so far: played back it decides the same.
    pub fn drawn(&self) -> &[u32] {
        &self.drawn
    }

    fn next(&mut self, below: u32) -> u32 {
        if below < 2 {
            return 0;
        }
        let number = match &mut self.source {
            Source::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                let high = (mixed ^ (mixed >> 31)) >> 32;
                u32::try_from(high).unwrap_or_default() % below
            }
            Source::Saved(numbers) => numbers.next().unwrap_or_default() % below,
        };
        self.drawn.push(number);
        number
    }

    /// A number below `count`; 0 if there is none.
    pub fn below(&mut self, count: usize) -> usize {
        let below = u32::try_from(count).unwrap_or(u32::MAX);
        usize::try_from(self.next(below)).unwrap_or_default()
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = u32::try_from(high.saturating_sub(low).saturating_add(1)).unwrap_or(u32::MAX);
        low + u64::from(self.next(span))
    }

    /// Whether something happens that does so many times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.next(1_000) >= 1_000_u32.saturating_sub(per_mille)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let index = self.below(items.len());
        items.get(index).copied()
    }

    /// An id that nobody has.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0xa5; 32];
        for chunk in bytes.chunks_mut(4).take(4) {
            chunk.copy_from_slice(&self.next(u32::MAX).to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_tape_decides_as_the_seed_did_and_ends_in_zeros() {
        let mut first = Tape::of_seed(7, 1);
        let decide = |tape: &mut Tape| (tape.below(10), tape.between(5, 9), tape.chance(500));
        let decided = decide(&mut first);
        let mut again = Tape::saved(first.drawn().to_vec());
        assert_eq!(decide(&mut again), decided);
        assert_eq!(decide(&mut again), (0, 5, false));
    }

    #[test]
    fn streams_of_a_seed_differ() {
        assert_ne!(Tape::of_seed(7, 1).bytes(), Tape::of_seed(7, 2).bytes());
    }
}
