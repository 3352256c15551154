//! What is left of a provider's rate limits, by its own headers, so that a request that would be refused goes elsewhere first.
//!
//! Providers name their windows in two ways, and mean two things by "reset":
//!
//! * With a period, as Cerebras does (`x-ratelimit-remaining-tokens-minute`): the window ends at its reset, and nothing comes
//!   back before.
//! * Without one, as OpenAI and Groq do (`x-ratelimit-remaining-tokens`): a bucket that fills steadily and is full at its reset.
//!   What has flowed in since the answer is counted.
//!
//! This is advice, not accounting: an answer's word replaces what was estimated since, requests still on their way included, and
//! a window whose reset has passed says nothing. Where it errs, the provider answers 429 and the target is parked.

mod window;

use super::moment::Moment;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use window::{Counts, Fills, Kind, Reading, Window};

/// The windows that are kept; others are passed over.
const KINDS: [Kind; 8] = [
    Kind { name: "requests", counts: Counts::Requests, fills: Fills::Steadily },
    Kind { name: "tokens", counts: Counts::Tokens, fills: Fills::Steadily },
    Kind { name: "requests-minute", counts: Counts::Requests, fills: Fills::AtReset },
    Kind { name: "tokens-minute", counts: Counts::Tokens, fills: Fills::AtReset },
    Kind { name: "requests-hour", counts: Counts::Requests, fills: Fills::AtReset },
    Kind { name: "tokens-hour", counts: Counts::Tokens, fills: Fills::AtReset },
    Kind { name: "requests-day", counts: Counts::Requests, fills: Fills::AtReset },
    Kind { name: "tokens-day", counts: Counts::Tokens, fills: Fills::AtReset },
];

/// What is left of one target's rate limits. Lock-free; a target that never sends such headers costs one relaxed load.
#[derive(Debug, Default)]
pub struct Quota {
    /// One bit for each of `KINDS` that was ever heard of.
    known: AtomicU32,
    windows: [Window; KINDS.len()],
}

/// One window as it stands, for the status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// As the provider names it, such as `tokens-minute`.
    pub window: &'static str,
    /// Requests or tokens in a full window, if the provider says so.
    pub limit: Option<u64>,
    /// Requests or tokens that are left, those of requests under way taken off.
    pub remaining: u64,
    /// Until the window is full again.
    pub resets_in: Duration,
}

impl Quota {
    /// Takes in the `x-ratelimit-{limit,remaining,reset}-*` headers of an answer, whatever its status. A window counts when both
    /// its `remaining` and its `reset` can be read; half a statement, or nonsense, leaves what was known.
    pub fn learn(&self, headers: &HeaderMap, now: Moment) {
        let mut readings = [Reading::default(); KINDS.len()];
        for (name, value) in headers {
            read(&mut readings, name, value);
        }
        let known = self.known.load(Ordering::Relaxed);
        let mut heard = known;
        for (at, ((window, reading), kind)) in self.windows.iter().zip(&readings).zip(&KINDS).enumerate() {
            if window.learn(reading, kind.fills, now) {
                heard |= 1 << at;
            }
        }
        if heard != known {
            self.known.fetch_or(heard, Ordering::Relaxed);
        }
    }

    /// A request that reserves this many tokens leaves now. Counted at once, so that a burst between two answers is seen too.
    pub fn spend(&self, tokens: u64) {
        for (window, kind) in self.known() {
            window.spend(kind.counts.of(tokens));
        }
    }

    /// Until when the next request, reserving this many tokens, would not fit; `None` when it fits or nothing is known. A request
    /// larger than a whole window fits a full one: its estimate may be too high, and to wait longer would not help it.
    pub fn exhausted(&self, tokens: u64, now: Moment) -> Option<Moment> {
        self.known().filter_map(|(window, kind)| window.fits_at(kind.counts.of(tokens), now)).max()
    }

    /// What is known at `now`, in a fixed order; nothing of windows whose reset has passed.
    pub fn snapshot(&self, now: Moment) -> Vec<Left> {
        self.known().filter_map(|(window, kind)| window.left(kind.name, now)).collect()
    }

    fn known(&self) -> impl Iterator<Item = (&Window, &'static Kind)> {
        let known = self.known.load(Ordering::Relaxed);
        let windows = if known == 0 { &[] } else { &self.windows[..] };
        windows.iter().zip(&KINDS).enumerate().filter(move |(at, _)| known & (1 << at) != 0).map(|(_, window)| window)
    }
}

/// Notes a header of the family, such as `x-ratelimit-reset-tokens-minute: 11.38`.
fn read(readings: &mut [Reading; KINDS.len()], name: &HeaderName, value: &HeaderValue) {
    let Some((field, window)) = name.as_str().strip_prefix("x-ratelimit-").and_then(|rest| rest.split_once('-')) else { return };
    let slot = readings.iter_mut().zip(&KINDS).find(|(_, kind)| kind.name == window);
    let (Some((reading, _)), Ok(text)) = (slot, str::from_utf8(value.as_bytes())) else { return };
    match field {
        "limit" => reading.limit = window::amount(text),
        "remaining" => reading.remaining = window::amount(text),
        "reset" => reading.reset = window::duration(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
