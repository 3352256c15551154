//! One window of a rate limit: what the provider said was left of it, what has been spent since, and when it is full again.

use super::Left;
use crate::upstream::moment::Moment;
use crate::upstream::parking::number;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// No provider counts further. Keeps every sum of amounts far from an overflow.
const MOST: u64 = 1 << 48;

/// The longest window there is. A reset beyond it is a timestamp or a mistake, and is not read.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What sets one window apart from another.
#[derive(Debug)]
pub(super) struct Kind {
    /// As headers name it.
    pub(super) name: &'static str,
    pub(super) counts: Counts,
    pub(super) fills: Fills,
}

/// What a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    Requests,
    Tokens,
}

impl Counts {
    /// How much of a window one request takes that reserves this many tokens.
    pub(super) fn of(self, tokens: u64) -> u64 {
        match self {
            Counts::Requests => 1,
            Counts::Tokens => tokens.min(MOST),
        }
    }
}

/// How a window becomes full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fills {
    /// Bit by bit, until its reset.
    Steadily,
    /// All at once.
    AtReset,
}

/// What one answer says of a window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    pub(super) limit: Option<u64>,
    pub(super) remaining: Option<u64>,
    pub(super) reset: Option<Duration>,
}

/// The parts are written one by one: a reader in between sees some of two statements that were both true a moment ago.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// 0 when the provider does not say.
    limit: AtomicU64,
    /// At the moment of learning, less what was spent since; below zero after a burst that nothing else could take.
    remaining: AtomicI64,
    /// What flows in steadily between learning and reset: 0 for a window that only ends.
    inflow: AtomicU64,
    /// `Moment`s.
    learnt: AtomicU64,
    reset: AtomicU64,
}

impl Window {
    /// Replaces what was known. False when the reading says too little.
    pub(super) fn learn(&self, reading: &Reading, fills: Fills, now: Moment) -> bool {
        let (Some(remaining), Some(reset)) = (reading.remaining, reading.reset) else { return false };
        let limit = reading.limit.unwrap_or(0);
        let inflow = match fills {
            Fills::Steadily => limit.saturating_sub(remaining),
            Fills::AtReset => 0,
        };
        self.limit.store(limit, Ordering::Relaxed);
        self.remaining.store(signed(remaining), Ordering::Relaxed);
        self.inflow.store(inflow, Ordering::Relaxed);
        self.learnt.store(now.as_millis(), Ordering::Relaxed);
        self.reset.store((now + reset).as_millis(), Ordering::Relaxed);
        true
    }

    pub(super) fn spend(&self, amount: u64) {
        // Not below the least amount, so that no number of requests turns a deficit into a surplus.
        let less = |remaining: i64| Some(remaining.saturating_sub(signed(amount)).max(-signed(MOST)));
        let _ = self.remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// When `amount` will fit; `None` when it does now.
    pub(super) fn fits_at(&self, amount: u64, now: Moment) -> Option<Moment> {
        let reset = self.reset_after(now)?;
        let amount = match self.limit.load(Ordering::Relaxed) {
            0 => signed(amount),
            limit => signed(amount.min(limit)),
        };
        let wanting = u64::try_from(amount - self.remaining.load(Ordering::Relaxed)).ok().filter(|wanting| *wanting > 0)?;
        let (inflow, learnt, period) = self.inflow(reset);
        // In full once `period * wanting / inflow` has passed since learning.
        let steadily = (u128::from(period) * u128::from(wanting)).div_ceil(u128::from(inflow).max(1));
        let wait = u64::try_from(steadily).ok().filter(|wait| inflow > 0 && *wait < period).unwrap_or(period);
        let fits = Moment::from_millis(learnt.as_millis().saturating_add(wait)).min(reset);
        (fits > now).then_some(fits)
    }

    /// How it stands; `None` once its reset has passed.
    pub(super) fn left(&self, window: &'static str, now: Moment) -> Option<Left> {
        let reset = self.reset_after(now)?;
        let (inflow, learnt, period) = self.inflow(reset);
        let elapsed = now.saturating_since(learnt).as_millis();
        let come = (u128::from(inflow) * elapsed).checked_div(u128::from(period)).unwrap_or(0).min(u128::from(inflow));
        let remaining = i128::from(self.remaining.load(Ordering::Relaxed)) + i128::try_from(come).unwrap_or(0);
        let limit = Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0);
        let remaining = u64::try_from(remaining).unwrap_or(0);
        Some(Left { window, limit, remaining, resets_in: reset.saturating_since(now) })
    }

    fn reset_after(&self, now: Moment) -> Option<Moment> {
        let reset = self.reset.load(Ordering::Relaxed);
        (reset > now.as_millis()).then(|| Moment::from_millis(reset))
    }

    /// What flows in, from when, and over how many milliseconds.
    fn inflow(&self, reset: Moment) -> (u64, Moment, u64) {
        let learnt = Moment::from_millis(self.learnt.load(Ordering::Relaxed));
        (self.inflow.load(Ordering::Relaxed), learnt, reset.as_millis().saturating_sub(learnt.as_millis()))
    }
}

/// A number of requests or tokens. `None` for a negative number (which some send for "no limit") and for what is none.
pub(super) fn amount(text: &str) -> Option<u64> {
    // The cast saturates and cuts off a fraction.
    number(text.trim()).map(|amount| (amount as u64).min(MOST))
}

/// A time to go: seconds (`11.382867097854614`) or units (`20ms`, `1s`, `6m0s`, `1h2m3.5s`). `None` beyond a day, which is what a
/// timestamp would come to.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if let Some(plain) = number(rest) {
        (seconds, rest) = (plain, "");
    } else if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_ends = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (count, unit) = rest.split_at(number_ends);
        let unit_ends = unit.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, next) = unit.split_at(unit_ends);
        seconds += number(count)? * in_seconds(unit)?;
        rest = next;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= LONGEST)
}

fn in_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "d" => 86_400.0,
        "h" => 3_600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

/// Amounts are far below the sign bit.
fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
