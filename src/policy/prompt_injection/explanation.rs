//! Why the linear model says what it says of one text: exact, since what it says is a sum.

use super::PromptInjection;
use super::model::{Gram, Windows};
use super::tokens::Tokens;
use crate::policy::normalize::Scratch;
use std::ops::Range;

/// The worst window of a text and what stands in it.
///
/// For whoever asked about this very text: the n-grams are words of it, so they belong into no record and no log.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The window, in bytes of the text; [`Explanation::code_points`] for those who count otherwise.
    pub window: Range<usize>,
    /// What rules and model say together, 0 to 1. A text the rules block alone is blocked whatever this is.
    pub score: f32,
    /// Log-odds of an attack by the window alone.
    pub log_odds: f32,
    /// The n-grams that add most to it, at most five, strongest first.
    pub grams: Vec<Gram>,
}

impl Explanation {
    /// The window in Unicode code points of the `text` explained.
    pub fn code_points(&self, text: &str) -> Range<usize> {
        let count = |part: Option<&str>| part.map_or(0, |part| part.chars().count());
        let start = count(text.get(..self.window.start));
        start..start + count(text.get(self.window.clone()))
    }
}

impl PromptInjection {
    /// What the linear model sees in one text written by a user; `None` for a text without words.
    pub fn explain_model(&self, text: &str) -> Option<Explanation> {
        let score = super::with_memory(|memory| self.gather(text, memory).score(self.weights.terms()));
        let mut worst: Option<(i32, Range<usize>, Vec<Gram>)> = None;
        self.normalizer.scans(text, &mut Scratch::default(), |scan| {
            let mut windows = Windows::default();
            Tokens::new(scan.text()).for_each(|token| windows.read(&self.weights, scan.text(), &token));
            if let Some(window) = windows.finish()
                && worst.as_ref().is_none_or(|(sum, ..)| window.sum > *sum)
            {
                worst = Some((window.sum, scan.source(window.range.clone()), window.explain(&self.weights, scan.text())));
            }
        });
        let (sum, window, grams) = worst?;
        Some(Explanation { window, score, log_odds: self.weights.terms().log_odds(sum, 0.0), grams })
    }
}
