//! The linear model: the words of a text weighed window by window, the worst window counting.
//!
//! A window is 64 words, the next one begins 32 later. So a text is a row of blocks of 32 words, a window is two neighbours, and each
//! word is weighed once. Sums are integers: the same everywhere.

use super::grams::{BEGINNING, Grams, PER_WORD, SILENT};
use super::tokens::{Token, Tokens};
use super::weights::Weights;
use std::collections::HashMap;
use std::ops::Range;

/// How many n-grams explain a window.
const EXPLAINED: usize = 5;

/// The worst window of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Bytes in the folded text.
    pub range: Range<usize>,
    /// Sum of the weights of its words.
    pub sum: i32,
}

/// One n-gram of a window and what it added to the score.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    /// The word, two words (`^` stands for the beginning of the text), or the beginning of a word (`inst-`), folded.
    pub text: String,
    /// How often it stands in the window.
    pub count: u32,
    /// Log-odds it added, of all its occurrences.
    pub weight: f32,
}

/// The blocks of one text as its words go by.
#[derive(Debug, Default)]
pub struct Windows {
    grams: Grams,
    before: Option<Block>,
    open: Block,
    worst: Option<Window>,
}

#[derive(Debug, Default, Clone)]
struct Block {
    range: Range<usize>,
    sum: i32,
    started: bool,
}

impl Windows {
    /// Weighs the next word of `text`.
    #[inline(always)]
    pub fn read(&mut self, weights: &Weights, text: &str, token: &Token) {
        let Self { grams, before, open, worst } = self;
        grams.read(text, token, |word| {
            if word.opens {
                if open.started {
                    // Alone it is the first half of a window yet to come.
                    if before.is_some() {
                        close(before, open, worst);
                    }
                    *before = Some(open.clone());
                }
                *open = Block { range: word.range.clone(), sum: 0, started: true };
            }
            open.range.end = word.range.end;
            open.sum += word.buckets.iter().map(|bucket| weights.of(*bucket)).sum::<i32>();
        });
    }

    /// The text is over: its worst window, if it has a word.
    pub fn finish(mut self) -> Option<Window> {
        if self.open.started {
            close(&self.before, &self.open, &mut self.worst);
        }
        self.worst
    }
}

/// Keeps the window of the two blocks if it is worse than any before.
fn close(before: &Option<Block>, open: &Block, worst: &mut Option<Window>) {
    let (start, sum) = before.as_ref().map_or((open.range.start, 0), |before| (before.range.start, before.sum));
    let sum = sum + open.sum;
    if worst.as_ref().is_none_or(|worst| sum > worst.sum) {
        *worst = Some(Window { range: start..open.range.end, sum });
    }
}

impl Window {
    /// The n-grams of the folded `text` that speak most for an attack, strongest first.
    pub fn explain(&self, weights: &Weights, text: &str) -> Vec<Gram> {
        let mut found: HashMap<String, (u32, i32)> = HashMap::new();
        let (mut grams, mut last) = (Grams::default(), 0..0usize);
        for token in Tokens::new(text).take_while(|token| token.range.start < self.range.end) {
            grams.read(text, &token, |word| {
                let before = std::mem::replace(&mut last, word.range.clone());
                if word.range.start < self.range.start || word.range.end > self.range.end {
                    return;
                }
                for (name, bucket) in names(text, &before, &word.range).into_iter().zip(word.buckets) {
                    let weight = weights.of(bucket);
                    if bucket != SILENT && weight > 0 {
                        let entry = found.entry(name).or_default();
                        *entry = (entry.0 + 1, entry.1 + weight);
                    }
                }
            });
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable_by(|(a, (_, x)), (b, (_, y))| y.cmp(x).then_with(|| a.cmp(b)));
        found.truncate(EXPLAINED);
        let scale = weights.terms().scale;
        found.into_iter().map(|(text, (count, sum))| Gram { text, count, weight: sum as f32 * scale }).collect()
    }
}

/// How to call the buckets of the word at `word`, which follows the one at `last`; in the order of `grams`.
fn names(text: &str, last: &Range<usize>, word: &Range<usize>) -> [String; PER_WORD] {
    let of = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    let beginning = of(word).char_indices().nth(BEGINNING).and_then(|(end, _)| of(word).get(..end));
    [
        of(word).to_owned(),
        format!("{} {}", if last.is_empty() { "^" } else { of(last) }, of(word)),
        beginning.map_or_else(|| of(word).to_owned(), |beginning| format!("{beginning}-")),
    ]
}
