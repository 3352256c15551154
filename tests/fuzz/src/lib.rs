//! What the targets share: a judge of time, since a text that takes too long is as much a find as one that panics.
//!
//! A random input is seldom long enough to show a square law. So some inputs, chosen by their own bytes and therefore again when
//! they are run again, are pumped: a part of them repeats until the text is [`SHORT`] and [`LONG`] bytes long, and the work of the
//! one is compared with that of the other. Work is the processor time of this thread, the least of several runs: what else the
//! machine does hardly matters.

use rustix::time::{ClockId, clock_gettime};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Bytes of the shorter pumped text.
const SHORT: usize = 8 << 10;
/// Bytes of the longer one.
const LONG: usize = 64 << 10;
/// One input in this many is pumped.
const ONE_IN: u64 = 24;
/// Work may grow by this much more than the length does: linear work stays below 2, a square law reaches 8.
const SLACK: f64 = 3.0;
/// Less time than this is too little to measure, in nanoseconds.
const FLOOR: f64 = 2e6;
/// Times a suspicion is measured again.
const TRIES: usize = 8;
/// No byte of a long text may take longer than this, in nanoseconds: twenty times what an instrumented build needs.
const MOST_PER_BYTE: f64 = 40_000.0;

/// Panics when `work` on a pumped form of `text` takes more than linear time, or very long.
pub fn assert_linear(text: &str, mut work: impl FnMut(&str)) {
    let Some(pump) = Pump::of(text) else { return };
    let (short, long) = (pump.grown(SHORT), pump.grown(LONG));
    let growth = long.len() as f64 / short.len() as f64;
    let (mut least_short, mut least_long) = (f64::MAX, f64::MAX);
    for _ in 0..TRIES {
        least_short = least_short.min(time(|| work(&short)));
        least_long = least_long.min(time(|| work(&long)));
        let too_long = least_long / long.len() as f64 > MOST_PER_BYTE;
        let linear = least_long < FLOOR || least_long < least_short * growth * SLACK;
        if linear && !too_long {
            return;
        }
    }
    panic!("{} bytes take {least_short} ns, {} bytes {least_long} ns: {pump:?}", short.len(), long.len());
}

/// A text with a part that repeats.
#[derive(Debug)]
struct Pump<'a> {
    before: &'a str,
    part: &'a str,
    after: &'a str,
}

impl<'a> Pump<'a> {
    /// A choice among the parts of a text that the text itself makes; `None` for most.
    fn of(text: &'a str) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        if text.is_empty() || !hash.is_multiple_of(ONE_IN) {
            return None;
        }
        let place = |bits: u64| text.floor_char_boundary(bits as usize % (text.len() + 1));
        let (one, other) = (place(hash >> 16 & 0xffff), place(hash >> 40 & 0xffff));
        let (start, end) = if one == other { (0, text.len()) } else { (one.min(other), one.max(other)) };
        Some(Self { before: &text[..start], part: &text[start..end], after: &text[end..] })
    }

    fn grown(&self, length: usize) -> String {
        let times = length.saturating_sub(self.before.len() + self.after.len()) / self.part.len() + 1;
        [self.before, &self.part.repeat(times), self.after].concat()
    }
}

/// Processor time of this thread, in nanoseconds.
fn time(work: impl FnOnce()) -> f64 {
    let began = now();
    work();
    now() - began
}

fn now() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}
