//! A provider as its gateway cannot see it: its weather, and its own account of what was asked of it.

use crate::upstream::{Dice, Failure};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// How a provider does for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Weather {
    Fair,
    /// 500 to everything, probes included.
    Down,
    /// 500 to completions; the path that is probed works.
    HalfDown,
    /// No connection.
    Gone,
    /// Fails every other time, by chance.
    Flapping,
    /// Takes connections and says nothing.
    Silent,
    /// Begins each answer so much later.
    Slow(Duration),
    /// 429, with a time or without.
    RateLimited(Option<Duration>),
    /// 503 with a time.
    Unavailable(Duration),
    /// Answers begin, and break off.
    Breaking,
}

/// What a provider counts, per minute: tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tariff {
    pub(super) tokens: u64,
    pub(super) fills: Fills,
    /// Whether its 429 says when to come back.
    pub(super) says_when: bool,
}

/// How its count starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fills {
    /// Every minute on the minute.
    OnTheMinute,
    /// Bit by bit.
    Steadily,
}

/// What becomes of a request, as seen from outside.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// Until its head, which is its first byte too; `None` when nothing ever comes.
    pub(super) head_in: Option<Duration>,
    pub(super) ending: Ending,
    pub(super) headers: HeaderMap,
    /// Its own account said no.
    pub(super) over_quota: bool,
}

/// How an answer goes on from its head.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Failed(Failure, Option<Duration>),
    Whole(Duration),
    BreaksOff(Duration),
}

/// One provider.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    /// From when which weather holds; fair before the first.
    forecast: Vec<(Duration, Weather)>,
    tariff: Option<Tariff>,
    base: Duration,
    left: u64,
    counted_at: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Provider {
    /// One whose answers begin after about `base`. The forecast is in order.
    pub(super) fn new(forecast: Vec<(Duration, Weather)>, tariff: Option<Tariff>, base: Duration) -> Self {
        let left = tariff.map_or(0, |tariff| tariff.tokens);
        Self { forecast, tariff, base, left, counted_at: Duration::ZERO }
    }

    pub(super) fn has_tariff(&self) -> bool {
        self.tariff.is_some()
    }

    pub(super) fn weather(&self, now: Duration) -> Weather {
        self.forecast.iter().rev().find(|(from, _)| *from <= now).map_or(Weather::Fair, |(_, weather)| *weather)
    }

    /// Whether the weather was fair all the time between these two.
    pub(super) fn was_fair(&self, from: Duration, to: Duration) -> bool {
        let changes = self.forecast.iter().filter(|(at, _)| from < *at && *at <= to);
        self.weather(from) == Weather::Fair && changes.into_iter().all(|(_, weather)| *weather == Weather::Fair)
    }

    /// Whether a probe is answered.
    pub(super) fn probed(&self, now: Duration, dice: &mut Dice) -> bool {
        match self.weather(now) {
            Weather::Down | Weather::Gone | Weather::Silent | Weather::Unavailable(_) => false,
            Weather::Flapping => dice.ratio() < 0.5,
            _ => true,
        }
    }

    /// A request of so many tokens arrives.
    pub(super) fn ask(&mut self, tokens: u64, now: Duration, dice: &mut Dice) -> Answer {
        let soon = Duration::from_millis(1 + dice.below(20) as u64);
        let later = self.base.mul_f64(0.5 + dice.ratio());
        let length = Duration::from_millis(100 + 10 * dice.below(400) as u64);
        let failed = |failure, pause| (Some(soon), Ending::Failed(failure, pause));
        let (head_in, ending) = match self.weather(now) {
            Weather::Down | Weather::HalfDown => failed(Failure::ServerError(500), None),
            Weather::Flapping if dice.ratio() < 0.5 => failed(Failure::ServerError(502), None),
            Weather::Gone => failed(Failure::Connect, None),
            Weather::RateLimited(pause) => failed(Failure::RateLimit, pause),
            Weather::Unavailable(pause) => failed(Failure::ServerError(503), Some(pause)),
            Weather::Silent => (None, Ending::Whole(length)),
            Weather::Slow(delay) => (Some(later + delay), Ending::Whole(length)),
            Weather::Breaking => (Some(later), Ending::BreaksOff(length)),
            Weather::Fair | Weather::Flapping => (Some(later), Ending::Whole(length)),
        };
        let mut answer = Answer { head_in: head_in.map(whole_millis), ending, headers: HeaderMap::new(), over_quota: false };
        if let (Some(tariff), Ending::Whole(_) | Ending::BreaksOff(_)) = (self.tariff, ending) {
            self.charge(tariff, tokens, now, soon, &mut answer);
        }
        answer
    }

    fn charge(&mut self, tariff: Tariff, tokens: u64, now: Duration, soon: Duration, answer: &mut Answer) {
        let left = self.count(tariff, now);
        let resets_in = match tariff.fills {
            Fills::OnTheMinute => MINUTE * (now.as_secs() as u32 / 60 + 1) - now,
            Fills::Steadily => MINUTE.mul_f64((tariff.tokens - left.min(tariff.tokens)) as f64 / tariff.tokens as f64),
        };
        if left < tokens {
            let pause = match tariff.fills {
                Fills::OnTheMinute => resets_in,
                Fills::Steadily => MINUTE.mul_f64((tokens - left) as f64 / tariff.tokens as f64),
            };
            answer.head_in = Some(soon);
            answer.ending = Ending::Failed(Failure::RateLimit, tariff.says_when.then(|| whole_millis(pause)));
            answer.over_quota = true;
        } else {
            self.left = left - tokens;
        }
        let suffix = if tariff.fills == Fills::OnTheMinute { "tokens-minute" } else { "tokens" };
        for (field, value) in [
            ("limit", tariff.tokens.to_string()),
            ("remaining", self.left.to_string()),
            ("reset", format!("{:.3}", whole_millis(resets_in).as_secs_f64())),
        ] {
            let name: HeaderName = format!("x-ratelimit-{field}-{suffix}").parse().expect("a header name");
            answer.headers.insert(name, HeaderValue::from_str(&value).expect("a header value"));
        }
    }

    /// What is left, by its own clock.
    fn count(&mut self, tariff: Tariff, now: Duration) -> u64 {
        match tariff.fills {
            Fills::OnTheMinute if now.as_secs() / 60 != self.counted_at.as_secs() / 60 => self.left = tariff.tokens,
            Fills::OnTheMinute => {}
            Fills::Steadily => {
                // Both ends of the span are rounded alike, so that no fraction of a token is ever lost.
                let come = |at: Duration| (at.as_millis() * u128::from(tariff.tokens) / MINUTE.as_millis()) as u64;
                self.left = (self.left + come(now) - come(self.counted_at)).min(tariff.tokens);
            }
        }
        self.counted_at = now;
        self.left
    }
}

/// Rounded up: the clock of a simulation ticks in milliseconds.
pub(super) fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(time.as_nanos().div_ceil(1_000_000) as u64)
}
