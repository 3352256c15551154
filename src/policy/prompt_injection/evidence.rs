//! What was found in one text, weighed together.

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

/// The evidence of one text: every rule once, at its strongest.
///
/// Each source of evidence adds a score between 0 and 1, read as the probability that it alone is right; independent ones add up as the
/// probability that any is. A further source (a trained model) adds its own score the same way.
#[derive(Debug, Default)]
pub struct Evidence {
    findings: Vec<Weighed>,
}

#[derive(Debug)]
struct Weighed {
    rule: Cow<'static, str>,
    score: f32,
    range: Range<usize>,
    muted: bool,
}

impl Evidence {
    /// Adds a rule that fired on `range` of the source.
    pub fn add(&mut self, rule: impl Into<Cow<'static, str>>, score: f32, range: Range<usize>, muted: bool, encoded: bool) {
        let score = if muted { score * MUTED } else { score };
        let score = if encoded { 1.0 - (1.0 - score) * ENCODED } else { score };
        let rule = rule.into();
        match self.findings.iter_mut().find(|other| other.rule == rule) {
            Some(other) if other.score >= score => {}
            Some(other) => *other = Weighed { rule, score, range, muted },
            None => self.findings.push(Weighed { rule, score, range, muted }),
        }
    }

    /// The findings worth telling, strongest first; a last one, `combined.rules`, when they block together and none does alone.
    pub fn conclude(self, text: usize, threshold: f64) -> Vec<Finding> {
        let strongest = self.findings.iter().map(|found| found.score).fold(0.0, f32::max);
        let doubt: f32 = self.findings.iter().filter(|found| !found.muted).map(|found| 1.0 - found.score).product();
        let together = strongest.max(1.0 - doubt);
        if f64::from(together) < WARN.min(threshold) {
            return Vec::new();
        }
        let alone = f64::from(strongest) >= threshold;
        let whole = self.findings.iter().map(|found| found.range.clone()).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
        let mut findings: Vec<Finding> = self.findings.into_iter().map(|found| found.finding(text)).collect();
        findings.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(std::cmp::Ordering::Equal));
        if !alone
            && together > strongest
            && let Some(range) = whole
        {
            let what = Cow::Borrowed("combined");
            findings.push(Finding { what, rule: Cow::Borrowed(COMBINED), text, range, score: Some(together) });
        }
        findings
    }
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
    fn finding(self, text: usize) -> Finding {
        let what = match &self.rule {
            Cow::Borrowed(rule) => Cow::Borrowed(rule.split('.').next().unwrap_or(rule)),
            Cow::Owned(rule) => Cow::Owned(rule.split('.').next().unwrap_or(rule).to_owned()),
        };
        Finding { what, rule: self.rule, text, range: self.range, score: Some(self.score) }
    }
}
