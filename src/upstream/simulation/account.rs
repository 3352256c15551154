//! What can be known of a provider's account at a distance: its last word, and what was sent since.

use super::provider::Fills;
use std::time::Duration;

/// The last word of one provider that counts.
#[derive(Debug, Default)]
pub(super) struct Account {
    word: Option<Word>,
    spent: u64,
}

#[derive(Debug)]
struct Word {
    left: u64,
    limit: u64,
    heard: Duration,
    full_in: Duration,
    fills: Fills,
}

impl Account {
    /// A request leaves.
    pub(super) fn spend(&mut self, tokens: u64) {
        self.spent += tokens;
    }

    /// An answer says what is left, and when the count is full again.
    pub(super) fn hear(&mut self, headers: &http::HeaderMap, fills: Fills, now: Duration) {
        let suffix = if fills == Fills::OnTheMinute { "tokens-minute" } else { "tokens" };
        let number = |field: &str| -> Option<f64> {
            headers.get(format!("x-ratelimit-{field}-{suffix}")).and_then(|value| value.to_str().ok()?.parse().ok())
        };
        if let (Some(left), Some(limit), Some(full_in)) = (number("remaining"), number("limit"), number("reset")) {
            let full_in = Duration::from_millis((full_in * 1_000.0).round() as u64);
            (self.word, self.spent) = (Some(Word { left: left as u64, limit: limit as u64, heard: now, full_in, fills }), 0);
        }
    }

    /// Whether so many tokens fit for certain, as far as was heard.
    pub(super) fn fits(&self, tokens: u64, now: Duration) -> bool {
        self.fits_with(0.0, tokens, now)
    }

    /// Whether they fit, or all but do: each side rounds.
    pub(super) fn about_fits(&self, tokens: u64, now: Duration) -> bool {
        self.fits_with(2.0, tokens, now)
    }

    fn fits_with(&self, slack: f64, tokens: u64, now: Duration) -> bool {
        let Some(word) = self.word.as_ref().filter(|word| now < word.heard + word.full_in) else { return true };
        let come = match word.fills {
            Fills::OnTheMinute => 0.0,
            Fills::Steadily => (word.limit - word.left) as f64 * (now - word.heard).as_secs_f64() / word.full_in.as_secs_f64(),
        };
        word.left as f64 + come - self.spent as f64 - 1.0 + slack >= tokens as f64
    }
}
