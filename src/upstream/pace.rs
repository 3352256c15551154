//! How fast a target has been of late: the medians that routing by speed compares.
//!
//! Every request of such a strategy reads them and every answer adds to them, so neither takes a lock. A sample is one word that
//! holds its time and its value: there is no pair to tear, and a median is worked out from the words that are there when it is
//! asked for. That also makes ageing exact: nothing has to be written for a sample to lapse, and the window may differ from one
//! reader to the next, as it does while a reload takes over.

use super::moment::Moment;
use std::array;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Newest samples kept of each kind. Enough for a steady median, few enough to look through on every request.
pub const SAMPLES: usize = 128;

/// Time to the first token and output tokens per second of one target.
#[derive(Debug, Default)]
pub struct Pace {
    first_token: Ring,
    throughput: Ring,
}

impl Pace {
    /// An answer's first token came after `took`.
    pub fn first_token(&self, took: Duration, now: Moment) {
        self.first_token.record(took.as_secs_f32(), now);
    }

    /// An answer came at `tokens_per_second`. What is no speed (zero, negative, not finite) is not recorded.
    pub fn throughput(&self, tokens_per_second: f64, now: Moment) {
        let tokens_per_second = tokens_per_second as f32;
        if tokens_per_second > 0.0 && tokens_per_second.is_finite() {
            self.throughput.record(tokens_per_second, now);
        }
    }

    /// Median time to the first token over the last `window`; `None` while it holds fewer than `min_samples`.
    pub fn median_first_token(&self, window: Duration, min_samples: u32, now: Moment) -> Option<Duration> {
        let seconds = self.first_token.median(window, min_samples, now)?;
        Some(Duration::try_from_secs_f32(seconds).unwrap_or(Duration::MAX))
    }

    /// Median of output tokens per second over the last `window`; `None` while it holds fewer than `min_samples`.
    pub fn median_throughput(&self, window: Duration, min_samples: u32, now: Moment) -> Option<f64> {
        self.throughput.median(window, min_samples, now).map(f64::from)
    }
}

/// The newest samples of one kind, the oldest overwritten first.
#[derive(Debug)]
struct Ring {
    samples: [AtomicU64; SAMPLES],
    written: AtomicUsize,
}

impl Default for Ring {
    fn default() -> Self {
        Self { samples: array::from_fn(|_| AtomicU64::new(NONE)), written: AtomicUsize::new(0) }
    }
}

impl Ring {
    /// `value` is finite and not negative.
    fn record(&self, value: f32, now: Moment) {
        // Two writers get two slots. A slot that is claimed and not yet written holds what it held before, which is a sample too.
        let slot = self.written.fetch_add(1, Ordering::Relaxed) % SAMPLES;
        if let Some(slot) = self.samples.get(slot) {
            slot.store(pack(value, now), Ordering::Relaxed);
        }
    }

    /// The lower one of the middle two when their number is even: a value that was measured.
    fn median(&self, window: Duration, min_samples: u32, now: Moment) -> Option<f32> {
        if self.written.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut codes = [0u32; SAMPLES];
        let words = self.samples.iter().map(|slot| slot.load(Ordering::Relaxed));
        let recent = words.filter(|&word| word != NONE && now.saturating_since(moment_of(word)) < window);
        let mut count = 0;
        for (code, word) in codes.iter_mut().zip(recent) {
            *code = code_of(word);
            count += 1;
        }
        // More samples than are kept cannot be asked for; a median of none does not exist.
        let needed = usize::try_from(min_samples).unwrap_or(SAMPLES).clamp(1, SAMPLES);
        let recent = codes.get_mut(..count).filter(|recent| recent.len() >= needed)?;
        let (_, median, _) = recent.select_nth_unstable((count - 1) / 2);
        Some(value_of(*median))
    }
}

/// An empty slot. No sample packs to it, because no moment is 0.
const NONE: u64 = 0;
/// Lower bits of a word, for the value; the 40 above hold milliseconds, enough for 34 years of uptime.
const CODE_BITS: u32 = 24;

/// Drops the sign and the last 7 bits of an f32: five significant digits at any magnitude, in an order that integers have too.
fn pack(value: f32, now: Moment) -> u64 {
    (now.as_millis() << CODE_BITS) | u64::from((value.to_bits() << 1) >> 8)
}

fn moment_of(word: u64) -> Moment {
    Moment::from_millis(word >> CODE_BITS)
}

fn code_of(word: u64) -> u32 {
    (word & ((1 << CODE_BITS) - 1)) as u32
}

fn value_of(code: u32) -> f32 {
    f32::from_bits(code << 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn too_few_samples_are_no_median() {
        let (pace, now) = (Pace::default(), Moment::from_millis(1_000));
        assert_eq!(pace.median_first_token(MINUTE, 0, now), None);
        (0..4).for_each(|_| pace.first_token(Duration::from_millis(250), now));
        assert_eq!(pace.median_first_token(MINUTE, 5, now), None);
        pace.first_token(Duration::from_millis(250), now);
        assert_eq!(pace.median_first_token(MINUTE, 5, now), Some(Duration::from_millis(250)));
        assert_eq!(pace.median_throughput(MINUTE, 1, now), None);
    }

    #[test]
    fn samples_age_out_without_a_write() {
        let (pace, start) = (Pace::default(), Moment::from_millis(1));
        (0..10).for_each(|second| pace.throughput(2_000.0, start + Duration::from_secs(second)));
        let median = |seconds: u64| pace.median_throughput(MINUTE, 5, start + Duration::from_secs(seconds));
        assert_eq!(median(64), Some(2_000.0));
        assert_eq!(median(65), None);
        assert_eq!(pace.median_throughput(2 * MINUTE, 5, start + Duration::from_secs(65)), Some(2_000.0));
    }

    #[test]
    fn what_is_no_speed_is_not_recorded() {
        let (pace, now) = (Pace::default(), Moment::from_millis(1));
        [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300].iter().for_each(|&speed| pace.throughput(speed, now));
        assert_eq!(pace.median_throughput(MINUTE, 1, now), None);
        pace.first_token(Duration::MAX, now);
        assert!(pace.median_first_token(MINUTE, 1, now) > Some(Duration::from_secs(1 << 62)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn the_median_is_that_of_the_newest_samples_in_the_window(
            samples in prop::collection::vec((0u64..2_000, 0u32..100_000), 0..300),
            window in 1u64..100_000,
            min_samples in 0u32..200,
        ) {
            let (pace, mut now, mut taken) = (Pace::default(), Moment::from_millis(1), Vec::new());
            for (pause, millis) in samples {
                now = now + Duration::from_millis(pause);
                pace.first_token(Duration::from_millis(millis.into()), now);
                taken.push((now, millis));
            }
            let window = Duration::from_millis(window);
            let newest = taken.iter().rev().take(SAMPLES).filter(|(at, _)| now.saturating_since(*at) < window);
            let mut recent: Vec<u32> = newest.map(|(_, millis)| *millis).collect();
            recent.sort_unstable();
            let enough = recent.len() >= min_samples.clamp(1, 128) as usize;
            let expected = enough.then(|| f64::from(recent[(recent.len() - 1) / 2]) / 1_000.0);
            let median = pace.median_first_token(window, min_samples, now).map(|median| median.as_secs_f64());
            prop_assert_eq!(median.is_some(), expected.is_some());
            if let Some((median, expected)) = median.zip(expected) {
                prop_assert!((median - expected).abs() <= expected * 2e-5, "{} is not {}", median, expected);
            }
        }
    }

    #[test]
    fn readers_see_whole_samples_while_many_write() {
        let (pace, now) = (Pace::default(), Moment::from_millis(5));
        let speeds = [64.0, 4_096.0];
        std::thread::scope(|scope| {
            for speed in speeds {
                let pace = &pace;
                scope.spawn(move || (0..2_000).for_each(|_| pace.throughput(speed, now)));
            }
            for _ in 0..500 {
                let median = pace.median_throughput(MINUTE, 1, now);
                assert!(median.is_none_or(|median| speeds.contains(&median)), "{median:?}");
            }
        });
    }
}
