//! How long to leave a target alone before it is asked once more.

use super::dice::Dice;
use crate::config::{BackoffStrategy, RetryPolicy};
use std::time::Duration;

/// No wait is longer: a caller sits at the other end of it.
pub const LONGEST: Duration = Duration::from_secs(10);

/// The wait before `retry`, which counts from 1 (0 is taken for it). Jitter takes up to half of it away, so that requests which
/// failed together do not come back together.
pub fn backoff(policy: &RetryPolicy, retry: u32, dice: &mut Dice) -> Duration {
    let doubled = match policy.backoff.strategy {
        BackoffStrategy::Fixed => 0,
        BackoffStrategy::Exponential => retry.saturating_sub(1),
    };
    let growth = 1u32.checked_shl(doubled).unwrap_or(u32::MAX);
    let longest = policy.backoff.base.saturating_mul(growth).min(LONGEST);
    longest.mul_f64(1.0 - dice.ratio() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Backoff;
    use proptest::prelude::*;

    fn policy(strategy: BackoffStrategy, base: Duration) -> RetryPolicy {
        RetryPolicy { max_retries: 10, backoff: Backoff { strategy, base } }
    }

    #[test]
    fn an_exponential_wait_doubles_until_it_is_ten_seconds() {
        let policy = policy(BackoffStrategy::Exponential, Duration::from_millis(100));
        for (retry, millis) in [(1, 100), (2, 200), (3, 400), (7, 6_400), (8, 10_000), (33, 10_000), (u32::MAX, 10_000)] {
            let wait = backoff(&policy, retry, &mut Dice::seeded(7)).as_secs_f64();
            let share = wait / (f64::from(millis) / 1_000.0);
            assert!((0.5..=1.0).contains(&share), "retry {retry} waits {wait} s");
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_never_below_half_nor_above_the_whole(base in any::<u64>(), retry in any::<u32>(), seed in any::<u64>()) {
            let base = Duration::from_millis(base);
            let wait = backoff(&policy(BackoffStrategy::Fixed, base), retry, &mut Dice::seeded(seed));
            let whole = base.min(LONGEST);
            prop_assert!(wait >= whole / 2 && wait <= whole);
            let wait = backoff(&policy(BackoffStrategy::Exponential, base), retry, &mut Dice::seeded(seed));
            prop_assert!(wait >= whole / 2 && wait <= LONGEST);
        }

        #[test]
        fn two_callers_do_not_come_back_together(seed in any::<u64>()) {
            let (mut dice, policy) = (Dice::seeded(seed), policy(BackoffStrategy::Fixed, LONGEST));
            prop_assert_ne!(backoff(&policy, 1, &mut dice), backoff(&policy, 1, &mut dice));
        }
    }
}
