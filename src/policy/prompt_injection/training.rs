//! What the trainer sees of a text: the very windows and rules the gateway judges by.

use super::grams::{Grams, SILENT};
use super::tokens::Tokens;
use super::{InjectionSettings, Memory, PromptInjection};
use std::ops::Range;

pub use super::grams::BITS;
pub use super::weights::{BUCKETS, Terms, Weights, WeightsError};

/// One text, read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    buckets: Vec<u16>,
    windows: Vec<Range<u32>>,
    /// Log-odds the rules give, 0 when none fired.
    pub rules: f32,
    /// The rules block it alone, at the shipped threshold.
    pub rules_block: bool,
}

impl Reading {
    /// The buckets of each window, of the text and of its decoded views.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = &[u16]> {
        self.windows.iter().map(|window| self.buckets.get(window.start as usize..window.end as usize).unwrap_or_default())
    }

    /// Adds the windows of one view, whose blocks begin at `blocks`.
    fn close(&mut self, blocks: &[u32]) {
        let end = self.buckets.len() as u32;
        let after = |block: usize| blocks.get(block).copied().unwrap_or(end);
        let halves = blocks.len().saturating_sub(1).max(blocks.len().min(1));
        self.windows.extend((0..halves).map(|block| after(block)..after(block + 2)));
    }
}

impl PromptInjection {
    /// The shipped rules without a model, for there may be none yet.
    ///
    /// # Errors
    ///
    /// Those of [`PromptInjection::new`].
    pub fn untrained() -> Result<Self, String> {
        let terms = Terms { scale: 1.0, bias: 0.0, rules: 0.0, warn: 0.0, block: 1.0 };
        let weights = Weights::new(Box::new([0; BUCKETS]), terms, [0; 32]).map_err(|error| error.to_string())?;
        Self::with_weights(InjectionSettings::default(), weights)
    }

    /// Reads one text as a user's.
    pub fn read(&self, text: &str) -> Reading {
        let (mut reading, mut memory) = (Reading::default(), Memory::default());
        self.normalizer.scans(text, &mut memory.scratch, |scan| {
            let (mut grams, mut blocks) = (Grams::default(), Vec::new());
            for token in Tokens::new(scan.text()) {
                grams.read(scan.text(), &token, |word| {
                    if word.opens {
                        blocks.push(reading.buckets.len() as u32);
                    }
                    reading.buckets.extend(word.buckets.iter().filter(|bucket| **bucket != SILENT));
                });
            }
            reading.close(&blocks);
        });
        let evidence = self.gather(text, &mut memory);
        reading.rules = evidence.rules();
        reading.rules_block = f64::from(evidence.together()) >= self.threshold;
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trainer_and_the_gateway_see_the_same_worst_window() {
        let policy = PromptInjection::new(InjectionSettings::default()).unwrap();
        for words in [1, 31, 32, 33, 64, 65, 96, 97, 200] {
            let text: String = (0..words).map(|word| format!("word{} ", word * 7 % 41)).collect();
            let reading = policy.read(&text);
            let sums = reading.windows().map(|window| window.iter().map(|bucket| policy.weights.of(*bucket)).sum::<i32>());
            let window = policy.gather(&text, &mut Memory::default()).window().map(|(_, sum)| sum);
            assert_eq!(sums.max(), window, "{words}");
        }
    }
}
