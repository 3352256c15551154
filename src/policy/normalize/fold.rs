//! One pass from what was written to what is read: lowercase, compatible forms, no marks, no invisible characters.

use super::bytes;
use super::characters::{Becomes, Character, decomposed};
use super::letters::{is_latin, lookalike, plain_latin, tag};
use super::map::OffsetMap;
use std::ops::Range;
use unicode_normalization::char::{compose, is_combining_mark};

/// Which foldings an operator left on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folding {
    /// Compatibility forms, marks, invisible and tag characters.
    pub unicode: bool,
    /// Foreign lookalikes of Latin letters.
    pub homoglyphs: bool,
}

/// A text grows by half at most, and by this many bytes: of compatibility forms beyond that only the first letter is kept.
const MIN_ROOM: usize = 512;
/// A subdivision flag is a black flag and up to this many tag characters, the terminator included.
const MAX_FLAG: usize = 7;

/// Folds `text` onto the end of `out`, and tells how many tag characters hid ASCII in it.
pub fn fold(text: &str, folding: Folding, out: &mut String, map: &mut OffsetMap) -> usize {
    let (word, waiting) = (Word::default(), 0..0);
    let mut fold = Fold { text, folding, out, map, waiting, word, mostly_latin: None, hidden: 0, flag_until: 0 };
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let plain = bytes::find(rest.as_bytes(), |b| !is_plain(b)).unwrap_or(rest.len());
        if plain > 0 {
            fold.ascii(at, plain);
            at += plain;
        }
        // Where one foreign character stands the next is near.
        for c in rest.get(plain..).unwrap_or_default().chars().take_while(|c| !c.is_ascii() || !is_plain(*c as u8)) {
            fold.char(at, c);
            at += c.len_utf8();
        }
    }
    fold.settle();
    fold.map.finish(text.len());
    fold.hidden
}

/// ASCII that folding only lowercases.
fn is_plain(b: u8) -> bool {
    (b.wrapping_sub(b' ') < 0x5f) | (b == b'\n') | (b == b'\r') | (b == b'\t')
}

struct Fold<'a> {
    text: &'a str,
    folding: Folding,
    out: &'a mut String,
    map: &'a mut OffsetMap,
    /// What of the text stays as it is and was not copied yet.
    waiting: Range<usize>,
    word: Word,
    /// Whether most letters of the text are Latin; counted once, when first asked.
    mostly_latin: Option<bool>,
    hidden: usize,
    /// Tag characters before this offset belong to an emoji flag.
    flag_until: usize,
}

/// What was decided for the word that ends at source offset `end`.
#[derive(Default)]
struct Word {
    end: usize,
    folds: bool,
}

impl Fold<'_> {
    fn ascii(&mut self, at: usize, len: usize) {
        self.settle();
        let start = self.out.len();
        self.map.copy(start, at);
        self.out.push_str(self.text.get(at..at + len).unwrap_or_default());
        if let Some(new) = self.out.get_mut(start..) {
            new.make_ascii_lowercase();
        }
    }

    #[inline(always)]
    fn char(&mut self, at: usize, c: char) {
        if !self.folding.unicode {
            return self.lower(at, c);
        }
        #[cfg(test)]
        super::work::count(6);
        let character = Character::of(c);
        if character.is_lookalike()
            && self.folding.homoglyphs
            && self.word_folds(at)
            && let Some(latin) = lookalike(c)
        {
            self.unit(at, latin);
        } else if character.stays(c) {
            self.keep(at, c.len_utf8());
        } else {
            self.change(at, c, character);
        }
    }

    fn change(&mut self, at: usize, c: char, character: Character) {
        match character.becomes(c) {
            Becomes::One(one) if one.len_utf8() == c.len_utf8() => self.copy(at, one),
            Becomes::One(one) => self.unit(at, one),
            Becomes::Nothing => self.reveal(at, c),
            Becomes::Several(several) => {
                self.settle();
                self.map.unit(self.out.len(), at);
                let room = (at + at / 2 + MIN_ROOM).saturating_sub(self.out.len());
                let end = if room < several.len() { several.chars().next().map_or(0, char::len_utf8) } else { several.len() };
                self.out.push_str(several.get(..end).unwrap_or_default());
            }
            Becomes::Other => {
                self.settle();
                self.parts(at, c);
            }
        }
    }

    /// Adds `len` bytes that stay as they are, with the next that do not.
    #[inline(always)]
    fn keep(&mut self, at: usize, len: usize) {
        if self.waiting.end != at {
            self.settle();
            self.waiting.start = at;
        }
        self.waiting.end = at + len;
    }

    /// Copies what waited.
    fn settle(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.map.copy(self.out.len(), waiting.start);
            self.out.push_str(self.text.get(waiting).unwrap_or_default());
        }
    }

    /// Drops an invisible character, or reveals the one it hides.
    fn reveal(&mut self, at: usize, c: char) {
        if let Some(hidden) = tag(c).filter(|_| at >= self.flag_until) {
            self.hidden += 1;
            self.unit(at, hidden.to_ascii_lowercase());
        }
    }

    /// Adds what a character is made of.
    fn parts(&mut self, at: usize, c: char) {
        if c == '\u{1f3f4}' {
            self.flag(at + c.len_utf8());
        }
        #[cfg(test)]
        super::work::count(20);
        let (parts, count) = decomposed(c);
        if parts[0] == c && count == 1 && !is_combining_mark(c) && plain_latin(c).is_none() && !matches!(c, 'ß' | 'æ' | 'œ') {
            return self.lower(at, c);
        }
        let start = self.out.len();
        for part in parts.iter().take(count) {
            for lower in part.to_lowercase() {
                self.part(start, at, lower);
            }
        }
    }

    /// Adds one decomposed, lowercase character: marks vanish after Latin and symbols, and join other letters.
    fn part(&mut self, start: usize, at: usize, c: char) {
        let last = self.out.chars().next_back();
        if is_combining_mark(c) {
            match last {
                Some(base) if Character::of(base).is_word() && !is_latin(base) => {
                    if let Some(joined) = compose(base, c) {
                        // The base is in a unit or a copied run of its own; the joined letter ends it.
                        let begin = self.out.len() - base.len_utf8();
                        let source = self.map.source_start(begin);
                        self.out.pop();
                        self.map.unit(self.out.len(), source);
                        self.out.push(joined);
                        return;
                    }
                }
                _ => return,
            }
        }
        if self.out.len() == start {
            self.map.unit(start, at);
        }
        match c {
            'ß' => self.out.push_str("ss"),
            'æ' => self.out.push_str("ae"),
            'œ' => self.out.push_str("oe"),
            _ => self.out.push(plain_latin(c).unwrap_or(c)),
        }
    }

    fn lower(&mut self, at: usize, c: char) {
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(only), None) if only.len_utf8() == c.len_utf8() => {
                self.copy(at, only);
            }
            _ => {
                self.settle();
                self.map.unit(self.out.len(), at);
                self.out.extend(c.to_lowercase());
            }
        }
    }

    fn copy(&mut self, at: usize, c: char) {
        self.settle();
        self.map.copy(self.out.len(), at);
        self.out.push(c);
    }

    fn unit(&mut self, at: usize, c: char) {
        self.settle();
        self.map.unit(self.out.len(), at);
        self.out.push(c);
    }

    fn flag(&mut self, from: usize) {
        let tags = self.text.get(from..).unwrap_or_default().chars().take_while(|c| is_tag(*c)).take(MAX_FLAG + 1).count();
        if tags <= MAX_FLAG {
            self.flag_until = from + tags * '\u{e0020}'.len_utf8();
        }
    }

    /// Whether the word around `at` mixes Latin with lookalikes, or is all lookalikes in a Latin text.
    #[inline(always)]
    fn word_folds(&mut self, at: usize) -> bool {
        if at >= self.word.end {
            self.word = self.word_at(at);
        }
        self.word.folds
    }

    fn word_at(&mut self, at: usize) -> Word {
        self.settle();
        // Whatever of the word is behind us is already in `out`, and was not a lookalike: only ASCII matters.
        let mut latin = self.out.bytes().next_back().is_some_and(|b| b.is_ascii_alphabetic());
        let mut only_lookalikes = !self.out.chars().next_back().is_some_and(|c| Character::of(c).is_word());
        let mut end = at;
        for c in self.text.get(at..).unwrap_or_default().chars() {
            let character = Character::of(c);
            if !character.goes_on() {
                break;
            }
            #[cfg(test)]
            super::work::count(3);
            end += c.len_utf8();
            if character.is_latin() {
                latin = true;
            } else if character.is_alphabetic() && !character.is_lookalike() {
                only_lookalikes = false;
            }
        }
        Word { end, folds: latin || (only_lookalikes && self.mostly_latin()) }
    }

    fn mostly_latin(&mut self) -> bool {
        *self.mostly_latin.get_or_insert_with(|| {
            let (mut latin, mut other) = (0usize, 0usize);
            for c in self.text.chars() {
                if c.is_ascii() {
                    latin += usize::from(c.is_ascii_alphabetic());
                } else {
                    let character = Character::of(c);
                    latin += usize::from(character.is_latin() && character.is_alphabetic());
                    other += usize::from(!character.is_latin() && character.is_alphabetic());
                }
            }
            latin > other
        })
    }
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007f}')
}
