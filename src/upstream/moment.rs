//! A point in time small enough for an atomic: what a target's standing is stamped with and compared against.

use once_cell::sync::Lazy;
use std::ops::Add;
use std::time::{Duration, Instant};

/// Set by whoever asks first; every later moment is counted from it.
static EPOCH: Lazy<Instant> = Lazy::new(Instant::now);

/// Milliseconds since an epoch of this process. The epoch itself is 1, so that an atomic can hold 0 for "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The present.
    pub fn now() -> Self {
        Self::at(Instant::now())
    }

    /// The moment of `instant`; one before the epoch counts as the epoch.
    pub fn at(instant: Instant) -> Self {
        // The epoch is read first: the very first call must not find its own instant before it.
        let epoch = *EPOCH;
        Self(1).later_by(instant.saturating_duration_since(epoch).as_millis())
    }

    /// From what [`Moment::as_millis`] gave; 0, which is no moment, counts as the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis == 0 { 1 } else { millis })
    }

    /// Milliseconds, at least 1.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// From `earlier` to here; zero when `earlier` is not earlier.
    pub const fn saturating_since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    fn later_by(self, millis: u128) -> Self {
        Self(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Later by `wait`, whose last fraction of a millisecond is rounded up: a wait never ends early. Saturates.
    fn add(self, wait: Duration) -> Moment {
        self.later_by(wait.as_nanos().div_ceil(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_is_never_the_zero_that_stands_for_none() {
        let now = Instant::now();
        assert!(Moment::at(now).as_millis() >= 1);
        assert!(now.checked_sub(Duration::from_secs(1)).is_none_or(|past| Moment::at(past).as_millis() >= 1));
        assert_eq!(Moment::from_millis(0), Moment::from_millis(1));
    }

    #[test]
    fn moments_follow_the_clock() {
        let now = Instant::now();
        let later = Moment::at(now + Duration::from_millis(250));
        assert_eq!(later.saturating_since(Moment::at(now)), Duration::from_millis(250));
        assert!(Moment::now() >= Moment::at(now));
    }

    proptest! {
        #[test]
        fn a_wait_never_ends_early_nor_a_millisecond_late(from in any::<u32>(), nanos in 0..u64::from(u32::MAX) * 1_000) {
            let (from, wait) = (Moment::from_millis(from.into()), Duration::from_nanos(nanos));
            let waited = (from + wait).saturating_since(from);
            prop_assert!(waited >= wait && waited < wait + Duration::from_millis(1));
        }

        #[test]
        fn no_sum_overflows(from in any::<u64>(), seconds in any::<u64>()) {
            let from = Moment::from_millis(from);
            prop_assert!(from + Duration::from_secs(seconds) >= from);
            prop_assert_eq!(from.saturating_since(from + Duration::from_secs(seconds)), Duration::ZERO);
        }
    }
}
