//! How long a sink is left alone after it failed: longer each time, and never in step with others.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(250);
/// Also the longest a sink that is back is not noticed.
const LONGEST: Duration = Duration::from_secs(30);
/// What a sink may ask for, at most.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// The pause after another failure; `asked` is what the other side wants, `chance` is evenly spread in `[0, 1)`.
    pub fn pause(&mut self, asked: Option<Duration>, chance: f64) -> Duration {
        let doubled = SHORTEST.saturating_mul(1 << self.0.min(16)).min(LONGEST);
        self.0 = self.0.saturating_add(1);
        let spread = doubled.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
        asked.map_or(spread, |asked| asked.min(LONGEST_ASKED).max(spread))
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.0 = 0;
    }
}

/// Evenly spread in `[0, 1)`; no secret may rest on it.
pub(super) fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let word = RandomState::new().build_hasher().finish();
    // The 53 upper bits are what an f64 holds exactly.
    (word >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pauses_double_up_to_a_bound_and_heed_what_is_asked(chances in prop::collection::vec(0.0f64..1.0, 1..40), asked in 0u64..1000) {
            let mut backoff = Backoff::default();
            for (n, chance) in chances.into_iter().enumerate() {
                let full = SHORTEST.saturating_mul(1 << n.min(16)).min(LONGEST);
                let mut asking = backoff;
                let asked = Duration::from_secs(asked);
                prop_assert!(asking.pause(Some(asked), chance) >= asked.min(LONGEST_ASKED));
                let pause = backoff.pause(None, chance);
                prop_assert!(full / 2 <= pause && pause <= full);
            }
            backoff.reset();
            prop_assert!(backoff.pause(None, 0.999) <= SHORTEST);
        }
    }
}
