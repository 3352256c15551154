//! What was found in one text, weighed together.

use super::weights::Terms;
use crate::policy::{Finding, Verdict};
use std::borrow::Cow;
use std::ops::Range;

/// Below this a text is not worth a warning.
pub const WARN: f64 = 0.5;
/// What is left of a rule's score when the text speaks of the attack instead of making it.
const MUTED: f32 = 0.6;
/// What is left of the doubt when a rule fires on something that had to be decoded first.
const ENCODED: f32 = 0.5;

/// The rule id of a finding that no single rule made.
const COMBINED: &str = "combined.rules";

/// The rule id of a finding of the linear model and the weaker rules together.
const MODEL: &str = "model.window";
/// A rule this doubtful says nothing: log-odds of the rules are counted from here.
const NOTHING: f32 = -3.0;
/// Of a rule that is never wrong, as far as we know.
const SURE: f32 = 0.999;

/// The evidence of one text: every rule once, at its strongest, and the worst window of the linear model.
///
/// Each rule adds a score between 0 and 1, read as the probability that it alone is right; independent ones add up as the
/// probability that any is. Where that does not suffice to block, rules and model are weighed together ([`Terms`]).
#[derive(Debug, Default)]
pub struct Evidence {
    findings: Vec<Weighed>,
    window: Option<(Range<usize>, i32)>,
}

#[derive(Debug)]
struct Weighed {
    rule: Cow<'static, str>,
    score: f32,
    range: Range<usize>,
    muted: bool,
}

/// What speaks for or against a rule beside its score.
#[derive(Debug, Default, Clone, Copy)]
pub struct Doubt {
    /// The text speaks of the attack rather than making it.
    pub muted: bool,
    /// The rule fired on what had to be decoded first.
    pub encoded: bool,
}

impl Evidence {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.findings.clear();
        self.window = None;
    }

    /// Adds a rule that fired on a range of the source, asked for only when it counts.
    pub fn add(&mut self, rule: impl Into<Cow<'static, str>>, score: f32, doubt: Doubt, range: impl FnOnce() -> Range<usize>) {
        let score = if doubt.muted { score * MUTED } else { score };
        let score = if doubt.encoded { 1.0 - (1.0 - score) * ENCODED } else { score };
        let (rule, muted) = (rule.into(), doubt.muted);
        match self.findings.iter_mut().find(|other| other.rule == rule) {
            Some(other) if other.score >= score => {}
            Some(other) => *other = Weighed { rule, score, range: range(), muted },
            None => self.findings.push(Weighed { rule, score, range: range(), muted }),
        }
    }

    /// Adds the worst window of a view, which covers a range of the source.
    pub fn weigh(&mut self, sum: i32, range: impl FnOnce() -> Range<usize>) {
        if self.window.as_ref().is_none_or(|(_, worst)| sum > *worst) {
            self.window = Some((range(), sum));
        }
    }

    /// The worst window of all views: where in the source, and the sum of its weights.
    #[cfg(all(test, feature = "train"))]
    pub fn window(&self) -> Option<(Range<usize>, i32)> {
        self.window.clone()
    }

    /// The probability that any of the rules is right.
    pub fn together(&self) -> f32 {
        let doubt: f32 = self.findings.iter().filter(|found| !found.muted).map(|found| 1.0 - found.score).product();
        self.strongest().max(1.0 - doubt)
    }

    /// What rules and model say together, between 0 and 1 ([`Terms::score`]).
    pub fn score(&self, terms: Terms) -> f32 {
        terms.score(self.window.as_ref().map_or(0, |(_, sum)| *sum), self.rules())
    }

    /// Log-odds the rules give. A text that only speaks of attacks has their words, which the model sees too: that is taken back.
    pub fn rules(&self) -> f32 {
        let live = self.findings.iter().filter(|found| !found.muted);
        match 1.0 - live.map(|found| 1.0 - found.score).product::<f32>() {
            live if live > 0.0 => log_odds(live),
            _ => -log_odds(self.strongest()),
        }
    }

    /// The findings worth telling, strongest first; a last one when they say more together than any does alone: `combined.rules`
    /// when the rules block, or else `model.window`.
    pub fn conclude(&mut self, threshold: f64, terms: Terms) -> Vec<Finding> {
        let (strongest, together) = (self.strongest(), self.together());
        let whole = self.findings.iter().map(|found| found.range.clone()).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
        let last = if f64::from(together) < threshold {
            let score = self.score(terms);
            if f64::from(score) < WARN.min(threshold) {
                return Vec::new();
            }
            let range = self.window.take().map(|(range, _)| range).or(whole);
            range.map(|range| Weighed { rule: Cow::Borrowed(MODEL), score, range, muted: false })
        } else if f64::from(strongest) < threshold {
            whole.map(|range| Weighed { rule: Cow::Borrowed(COMBINED), score: together, range, muted: false })
        } else {
            None
        };
        self.findings.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.findings.drain(..).chain(last).map(Weighed::finding).collect()
    }

    fn strongest(&self) -> f32 {
        self.findings.iter().map(|found| found.score).fold(0.0, f32::max)
    }
}

/// Log-odds of a probability the rules give, counted from [`NOTHING`].
fn log_odds(probability: f32) -> f32 {
    let odds = probability.min(SURE) / (1.0 - probability.min(SURE));
    if odds > 0.0 { (odds.ln() - NOTHING).max(0.0) } else { 0.0 }
}

/// The word for the findings of one text: `block` from the threshold on, `warn` below it.
pub fn verdict(findings: &[Finding], threshold: f64) -> Verdict {
    let score = findings.iter().filter_map(|finding| finding.score).fold(f32::NEG_INFINITY, f32::max);
    match f64::from(score) {
        score if score >= f64::from(threshold as f32) => Verdict::Block,
        score if score >= WARN => Verdict::Warn,
        _ => Verdict::Allow,
    }
}

impl Weighed {
    fn finding(self) -> Finding {
        let what = match &self.rule {
            Cow::Borrowed(rule) => Cow::Borrowed(rule.split('.').next().unwrap_or(rule)),
            Cow::Owned(rule) => Cow::Owned(rule.split('.').next().unwrap_or(rule).to_owned()),
        };
        Finding { what, rule: self.rule, text: 0, range: self.range, score: Some(self.score) }
    }
}
