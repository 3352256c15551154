//! What the linear model sees of a text: its words and their neighbours, each as one of 65,536 buckets.
//!
//! A word is known by its first letter, its last letter and the letters between in any order, each read through the alphabet of
//! digits and symbols written for letters. So `instructions`, `isntructoins` and `1nstruct10ns` are one word, which costs nothing:
//! the hash of a word is a sum. Scripts written without spaces are read letter by letter. A number is known by its length.
//!
//! Trainer and gateway read texts through this file alone; what it computes may only change together with [`FEATURES`].

use super::letters::{LETTERS, spread, sum};
use super::tokens::Token;
use std::ops::Range;

/// Names what this file computes: weights trained on something else are refused.
pub const FEATURES: u16 = 1;
/// Width of a bucket number.
pub const BITS: u8 = 16;
/// Buckets of one word: itself, itself after the word before, and how it begins.
pub const PER_WORD: usize = 3;
/// Words of a block.
pub const BLOCK: u32 = 32;
/// Letters that are the beginning of a longer word.
pub const BEGINNING: usize = 4;
/// The bucket of what does not count.
pub const SILENT: u16 = 0;

/// What stands before the first word of a sentence.
const SENTENCE: u64 = 0x5e47_e4ce_0000_0001;
/// What stands before the first word of a quotation.
const QUOTATION: u64 = 0x9007_e000_0000_0003;
/// Slots that remember what a block has held: a few for each bucket of a block.
const SLOTS: usize = 512;

/// Reads words in order.
#[derive(Debug, Clone)]
pub struct Grams {
    /// The word before.
    before: u64,
    /// Where the next word stands if nothing comes between.
    position: u32,
    /// Words read.
    words: u32,
    /// Buckets of late, each with its block.
    seen: [u32; SLOTS],
}

/// One word and its buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Bytes in the text.
    pub range: Range<usize>,
    /// It is the first of a block.
    pub opens: bool,
    /// What repeats in its block is [`SILENT`]: saying a thing ten times makes it no worse.
    pub buckets: [u16; PER_WORD],
}

impl Default for Grams {
    fn default() -> Self {
        Self { before: SENTENCE, position: 0, words: 0, seen: [0; SLOTS] }
    }
}

impl Grams {
    /// Calls `found` with each word `token` is read as.
    #[inline(always)]
    pub fn read(&mut self, text: &str, token: &Token, mut found: impl FnMut(Word)) {
        if token.quoted {
            self.before = QUOTATION;
        } else if token.position != self.position {
            self.before = SENTENCE;
        }
        self.position = token.position.wrapping_add(1);
        if token.unspaced {
            return self.read_letters(text, &token.range, found);
        }
        let Some(word) = text.as_bytes().get(token.range.clone()) else { return };
        let hash = if token.number { number(word.len()) } else { hash(word, token.letters) };
        let beginning = match word.first_chunk::<BEGINNING>() {
            Some(letters) if word.len() > BEGINNING => !self::hash(letters, sum(letters)),
            _ => hash,
        };
        found(self.word(token.range.clone(), hash, beginning));
    }

    /// Each character of a script without spaces is a word.
    #[inline(never)]
    fn read_letters(&mut self, text: &str, range: &Range<usize>, mut found: impl FnMut(Word)) {
        for (at, letter) in text.get(range.clone()).unwrap_or_default().char_indices() {
            let at = range.start + at;
            let hash = spread(u64::from(letter as u32));
            found(self.word(at..at + letter.len_utf8(), hash, hash));
        }
    }

    #[inline(always)]
    fn word(&mut self, range: Range<usize>, word: u64, beginning: u64) -> Word {
        let pair = word.wrapping_add(self.before.rotate_left(21));
        self.before = word;
        let opens = self.words.is_multiple_of(BLOCK);
        let block = self.words / BLOCK;
        self.words = self.words.wrapping_add(1);
        Word { range, opens, buckets: [word, pair, beginning].map(|gram| self.fresh(bucket(gram), block)) }
    }

    /// The bucket, unless its block has held it.
    #[inline(always)]
    fn fresh(&mut self, bucket: u16, block: u32) -> u16 {
        let mark = u32::from(bucket) << 16 | (block & 0xffff);
        let Some(slot) = self.seen.get_mut(usize::from(bucket) % SLOTS) else { return SILENT };
        let known = *slot == mark;
        *slot = mark;
        if known { SILENT } else { bucket }
    }
}

/// Of every number with so many digits.
fn number(digits: usize) -> u64 {
    spread(0x1000 + digits as u64)
}

/// The same for every order of the inner letters.
#[inline]
fn hash(word: &[u8], letters: u64) -> u64 {
    let (Some(first), Some(last)) = (word.first(), word.last()) else { return 0 };
    spread(letters ^ LETTERS[usize::from(*first)].rotate_left(17) ^ LETTERS[usize::from(*last)].rotate_left(40))
}

#[inline]
fn bucket(gram: u64) -> u16 {
    (gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as u16
}
