//! Random choices that stay the same for a seed, for ever.
//!
//! The generator is PCG-64, whose output is defined; everything drawn from it is defined here, because the
//! distributions of a library may change between versions and a recorded seed must not lose its meaning.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// A stream of random choices.
#[derive(Debug)]
pub(crate) struct Dice(Pcg64);

impl Dice {
    /// The choices of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }

    /// A number that can be the seed of another stream.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which must not be 0. The bias is below `bound` / 2^64.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "invariant: something can be chosen");
        let scaled = (u128::from(self.0.next_u64()) * bound as u128) >> 64;
        usize::try_from(scaled).expect("invariant: the product's upper half is below the bound")
    }

    /// A number in [0, 1), in steps of 2^-53.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in [low, high), evenly.
    pub(crate) fn even(&mut self, low: f64, high: f64) -> f64 {
        low + self.fraction() * (high - low)
    }

    /// A number in [low, high), as often in [low, 2·low) as in [2·low, 4·low).
    pub(crate) fn log_even(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.fraction())
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of several, unless there is none.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        if choices.is_empty() { None } else { choices.get(self.below(choices.len())) }
    }

    /// Puts things into a random order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }

    /// The things in a random order.
    pub(crate) fn shuffled<T: Clone>(&mut self, things: &[T]) -> Vec<T> {
        let mut shuffled = things.to_vec();
        self.shuffle(&mut shuffled);
        shuffled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_of_a_seed_never_change() {
        let mut dice = Dice::new(42);
        let drawn: Vec<usize> = (0..8).map(|_| dice.below(100)).collect();
        assert_eq!(drawn, DRAWN_WITH_SEED_42);
        assert_eq!(Dice::new(7).shuffled(&[1, 2, 3, 4, 5]), SHUFFLED_WITH_SEED_7);
    }

    const DRAWN_WITH_SEED_42: [usize; 8] = [22, 23, 76, 52, 97, 37, 18, 52];
    const SHUFFLED_WITH_SEED_7: [i32; 5] = [4, 2, 3, 5, 1];

    #[test]
    fn shuffle_keeps_everything() {
        let mut things = Dice::new(1).shuffled(&(0..50).collect::<Vec<_>>());
        things.sort_unstable();
        assert_eq!(things, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn log_even_numbers_lie_in_their_range() {
        let mut dice = Dice::new(3);
        assert!((0..1000).map(|_| dice.log_even(1.0, 8.0)).all(|number| (1.0..8.0).contains(&number)));
    }
}
