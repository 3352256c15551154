//! Chance, as an argument: whoever chooses at random is handed dice, so that a seed replays the choice.

/// A small generator of evenly spread numbers (SplitMix64, by Steele, Lea and Flood). One word of state, a few instructions a
/// throw. Good for spreading load; no secret may rest on it.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same `seed`. Any seed will do, neighbours included.
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Evenly in `[0, 1)`.
    pub fn ratio(&mut self) -> f64 {
        // The 53 upper bits are what an f64 holds exactly, so that rounding never reaches 1.
        (self.throw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly among `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // The upper word of the product is below `n`, and uneven by no more than n in 2^64.
        ((u128::from(self.throw()) * n as u128) >> 64) as usize
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let mut dice = Dice::seeded(1_234_567);
        let thrown: Vec<u64> = (0..3).map(|_| dice.throw()).collect();
        assert_eq!(thrown, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn throws_stay_in_their_range(seed in any::<u64>(), n in any::<usize>()) {
            let mut dice = Dice::seeded(seed);
            prop_assert!((0.0..1.0).contains(&dice.ratio()));
            prop_assert!(dice.below(n) < n.max(1));
        }

        #[test]
        fn every_side_comes_up_about_as_often_whatever_the_seed(seed in any::<u64>(), sides in 2usize..8) {
            let (mut dice, mut counts) = (Dice::seeded(seed), vec![0u32; sides]);
            for _ in 0..sides * 1_000 {
                counts[dice.below(sides)] += 1;
            }
            // Seven standard deviations: one seed in 10^11 strays further.
            prop_assert!(counts.iter().all(|&count| count.abs_diff(1_000) < 222), "{counts:?}");
        }
    }
}
