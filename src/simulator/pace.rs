//! When each token is due: a timeline counted from the beginning of the answer, so that late wake-ups never add up.

use std::time::Duration;

/// The timetable of one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeline {
    /// Before the first token: the queue and the prompt.
    first: Duration,
    /// So many tokens ...
    tokens: u32,
    /// ... in so much time; none of either means everything is due at once.
    span: Duration,
}

impl Timeline {
    /// A timetable that reads `prompt_tokens` and then speaks at `speed` tokens per second. Speed zero waits for nothing.
    pub fn new(prompt_tokens: usize, speed: u32) -> Self {
        let first = if speed == 0 { Duration::ZERO } else { QUEUE_TIME + prompt_time(prompt_tokens) };
        Self { first, tokens: speed, span: Duration::from_secs(1) }
    }

    /// A timetable with `gap` before every token.
    pub fn every(gap: Duration) -> Self {
        Self { first: gap, tokens: 1, span: gap }
    }

    /// How many tokens are due when `elapsed` has passed since the request was read.
    pub fn due(&self, elapsed: Duration) -> usize {
        if self.tokens == 0 || self.span.is_zero() {
            return usize::MAX;
        }
        match elapsed.checked_sub(self.first) {
            None => 0,
            Some(speaking) => {
                let whole = speaking.as_nanos() * u128::from(self.tokens) / self.span.as_nanos();
                usize::try_from(whole).unwrap_or(usize::MAX).saturating_add(1)
            }
        }
    }

    /// When token number `index`, from zero, is due.
    pub fn at(&self, index: usize) -> Duration {
        if self.tokens == 0 {
            return Duration::ZERO;
        }
        // Rounded up, so that at that moment the token is due and not one nanosecond short of it.
        let nanos = (index as u128).saturating_mul(self.span.as_nanos()).div_ceil(u128::from(self.tokens));
        self.first.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// What `time_info` reports as the time in the queue.
pub const QUEUE_TIME: Duration = Duration::from_nanos(73_161);

/// How long reading a prompt takes: 50,000 tokens per second.
pub fn prompt_time(tokens: usize) -> Duration {
    Duration::from_micros(20).saturating_mul(u32::try_from(tokens).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_is_due_at_its_time_and_not_a_nanosecond_before(
            speed in 1u32..100_000,
            index in 0usize..1_000_000,
            prompt in 0usize..5_000,
        ) {
            let timeline = Timeline::new(prompt, speed);
            let at = timeline.at(index);
            prop_assert!(timeline.due(at) > index);
            prop_assert!(timeline.due(at - Duration::from_nanos(1)) <= index);
        }
    }

    #[test]
    fn an_unpaced_answer_is_due_at_once() {
        assert_eq!(Timeline::new(1_000, 0).due(Duration::ZERO), usize::MAX);
        assert_eq!(Timeline::new(1_000, 0).at(7), Duration::ZERO);
    }

    #[test]
    fn a_gap_comes_before_every_token() {
        let timeline = Timeline::every(Duration::from_millis(100));
        assert_eq!(timeline.due(Duration::from_millis(99)), 0);
        assert_eq!(timeline.due(Duration::from_millis(299)), 2);
        assert_eq!(timeline.at(2), Duration::from_millis(300));
    }

    #[test]
    fn a_second_of_speaking_makes_a_second_of_tokens() {
        let timeline = Timeline::new(10, 2_100);
        assert_eq!(timeline.due(timeline.at(0) + Duration::from_secs(1)), 2_101);
    }
}
