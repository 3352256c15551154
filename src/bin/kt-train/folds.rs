//! Leave-source-out: every row scored by a model that saw neither its source nor a copy of it.

use crate::fit::{Rates, fit};
use crate::rows::{Row, Rows};
use std::collections::HashSet;

/// Runs of eight words in common that make a row a copy.
const COPIED: usize = 4;
/// Steps of the fit of three numbers.
const STEPS: usize = 3_000;

/// The scores of all rows.
pub struct Folds {
    /// Log-odds by the model alone.
    pub model: Vec<f32>,
    /// How model and rules are weighed together.
    pub stack: Stack,
    /// Training rows left out because the source left out holds a copy of them.
    pub copies: usize,
}

/// Log-odds from those of the model and of the rules.
pub struct Stack {
    /// What one log-odd of the model weighs.
    pub model: f32,
    /// What one log-odd of the rules weighs.
    pub rules: f32,
    /// Log-odds when both are silent.
    pub bias: f32,
}

impl Folds {
    /// Trains one model for each source.
    pub fn run(rows: &Rows, rates: &Rates) -> Self {
        let (mut model, mut copies) = (vec![0.0; rows.all.len()], 0);
        for source in 0..rows.sources.len() {
            let held: HashSet<u64> = rows.all.iter().filter(|r| r.source == source).flat_map(|r| &r.shingles).copied().collect();
            let is_copy = |row: &Row| row.shingles.iter().filter(|shingle| held.contains(shingle)).take(COPIED).count() == COPIED;
            copies += rows.all.iter().filter(|row| row.source != source && is_copy(row)).count();
            let blind = fit(rows, |row| row.source != source && !is_copy(row), rates);
            for (score, row) in model.iter_mut().zip(&rows.all).filter(|(_, row)| row.source == source) {
                *score = blind.worst(row).0;
            }
        }
        let stack = Stack::fit(rows, &model);
        Self { model, stack, copies }
    }

    /// What the gateway makes of each row: the rules if they block it, or else model and rules weighed together.
    pub fn combined(&self, rows: &Rows) -> Vec<f32> {
        let odds = |(model, row): (&f32, &Row)| match row.reading.rules_block {
            true => f32::MAX,
            false => self.stack.odds(*model, row.reading.rules),
        };
        self.model.iter().zip(&rows.all).map(odds).collect()
    }

    /// The log-odds from which on a share of `rate` of the benign rows is caught, those counted that the rules catch anyway.
    pub fn threshold(&self, rows: &Rows, rate: f64) -> f32 {
        let benign = self.combined(rows).into_iter().zip(&rows.all).filter(|(_, row)| !row.attack);
        crate::tables::threshold(&benign.map(|(odds, _)| odds).collect::<Vec<_>>(), rate)
    }
}

impl Stack {
    /// Logistic regression in two numbers, by plain descent.
    fn fit(rows: &Rows, model: &[f32]) -> Self {
        let mut stack = Self { model: 0.5, rules: 0.5, bias: -2.0 };
        let taught: Vec<(f32, &Row)> =
            model.iter().copied().zip(&rows.all).filter(|(_, row)| row.taught || !row.attack).collect();
        for _ in 0..STEPS {
            let (mut by_model, mut by_rules, mut by_bias) = (0.0f64, 0.0f64, 0.0f64);
            for (score, row) in &taught {
                let odds = stack.odds(*score, row.reading.rules);
                let error = f64::from(1.0 / (1.0 + (-odds).exp()) - f32::from(u8::from(row.attack)));
                by_model += error * f64::from(*score);
                by_rules += error * f64::from(row.reading.rules);
                by_bias += error;
            }
            let rate = 0.1 / taught.len().max(1) as f64;
            stack.model = (stack.model - (rate * by_model) as f32).max(0.0);
            stack.rules = (stack.rules - (rate * by_rules) as f32).max(0.0);
            stack.bias -= (rate * by_bias) as f32;
        }
        stack
    }

    /// Log-odds of both together.
    pub fn odds(&self, model: f32, rules: f32) -> f32 {
        model * self.model + rules * self.rules + self.bias
    }
}
