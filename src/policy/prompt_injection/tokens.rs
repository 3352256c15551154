//! Folded text cut into words.

use super::letters::{LETTERS, sum};
use crate::policy::normalize::Character;
use std::ops::Range;

/// One word of a folded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Bytes in the folded text.
    pub range: Range<usize>,
    /// How many words stand before it; the end of a sentence counts as [`SENTENCE`] and of a paragraph as [`PARAGRAPH`].
    pub position: u32,
    /// A quotation mark opens right before it.
    pub quoted: bool,
    /// It holds digits or symbols that may stand for letters.
    pub leet: bool,
    /// It holds nothing but digits.
    pub number: bool,
    /// It is of a script that puts no spaces between words, or glues particles to them: more than one word, maybe.
    pub unspaced: bool,
    /// The sum of its letters (`letters`).
    pub letters: u64,
}

/// Two slots of a rule may meet across the end of a sentence, but not as easily.
const SENTENCE: u32 = 3;
/// Hardly any rule reaches over an empty line.
const PARAGRAPH: u32 = 5;

/// What a byte may be to a word; first what a word may be made of.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Class {
    Letter,
    Digit,
    /// Of a character that is not ASCII.
    Foreign,
    /// May stand for a letter.
    Symbol,
    /// May end a sentence.
    End,
    Line,
    Quote,
    /// May stand between a quotation mark and what is quoted.
    Bracket,
    Other,
}

const CLASS: [Class; 256] = classes();

/// The words of a folded text, in order.
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
    position: u32,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, position: 0 }
    }

    /// Of the next word, as far as is known yet.
    pub fn position(&self) -> u32 {
        self.position
    }

    #[inline(always)]
    fn class(&self, at: usize) -> Option<(u8, Class)> {
        self.text.as_bytes().get(at).map(|b| (*b, CLASS[usize::from(*b)]))
    }

    #[inline(never)]
    fn foreign(&self, at: usize) -> Option<(char, Character)> {
        self.text.get(at..)?.chars().next().map(|c| (c, Character::of(c)))
    }

    /// Whether a symbol at `at` stands for a letter: something of the word has to follow.
    fn spells(&self, symbol: u8, at: usize, inside: bool) -> bool {
        let letter_follows = || self.text.as_bytes().get(at + 1).is_some_and(u8::is_ascii_alphabetic);
        match symbol {
            b'@' | b'$' => inside || letter_follows(),
            b'!' => letter_follows(),
            _ => inside && letter_follows(),
        }
    }

    /// Skips what is between words; whether a quotation mark came last.
    #[inline(always)]
    fn skip(&mut self) -> Option<bool> {
        // Most words follow a space.
        if let Some((b' ', _)) = self.class(self.at)
            && let Some((_, Class::Letter)) = self.class(self.at + 1)
        {
            self.at += 1;
            return Some(false);
        }
        self.skip_any()
    }

    #[inline(never)]
    fn skip_any(&mut self) -> Option<bool> {
        let start = self.at;
        let (mut quoted, mut sentence, mut lines) = (false, false, 0);
        loop {
            let (b, class) = self.class(self.at)?;
            match class {
                Class::Letter | Class::Digit => break,
                Class::Other => quoted = false,
                Class::Symbol if self.spells(b, self.at, false) => break,
                Class::End | Class::Symbol => {
                    let next = self.text.as_bytes().get(self.at + 1);
                    sentence |= (class == Class::End || b == b'!') && next.is_none_or(u8::is_ascii_whitespace);
                    quoted = false;
                }
                Class::Line => (lines, quoted) = (lines + 1, false),
                Class::Quote => quoted = true,
                Class::Bracket => {}
                Class::Foreign => {
                    let (c, character) = self.foreign(self.at)?;
                    if character.is_word() {
                        break;
                    }
                    sentence |= matches!(c, '。' | '।' | '؟' | '…');
                    quoted = matches!(c, '“' | '‘' | '„' | '«' | '「' | '『' | '‚');
                    self.at += c.len_utf8() - 1;
                }
            }
            self.at += 1;
        }
        if start > 0 {
            self.position += match lines {
                2.. => PARAGRAPH,
                _ if sentence => SENTENCE,
                _ => 0,
            };
        }
        Some(quoted)
    }

    /// Reads on where something else than a letter may belong to the word.
    #[inline(never)]
    fn read_on(&self, token: &mut Token) {
        let Token { range, leet, number, unspaced, letters, .. } = token;
        let bytes = self.text.as_bytes();
        *number = range.start == range.end;
        while let Some((b, class)) = self.class(range.end) {
            match class {
                Class::Letter => *number = false,
                Class::Digit => *leet = true,
                Class::Symbol if self.spells(b, range.end, range.end > range.start) => (*leet, *number) = (true, false),
                Class::Foreign => {
                    let start = range.end;
                    for c in self.text.get(start..).unwrap_or_default().chars().take_while(|c| !c.is_ascii()) {
                        let character = Character::of(c);
                        if !character.is_word() {
                            break;
                        }
                        *unspaced |= character.is_unspaced();
                        range.end += c.len_utf8();
                    }
                    *letters = letters.wrapping_add(sum(bytes.get(start..range.end).unwrap_or_default()));
                    if range.end == start {
                        break;
                    }
                    *number = false;
                    continue;
                }
                _ => break,
            }
            *letters = letters.wrapping_add(LETTERS[usize::from(b)]);
            range.end += 1;
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    #[inline(always)]
    fn next(&mut self) -> Option<Token> {
        let quoted = self.skip()?;
        let (start, mut at, mut letters) = (self.at, self.at, 0u64);
        while let Some((b, Class::Letter)) = self.class(at) {
            letters = letters.wrapping_add(LETTERS[usize::from(b)]);
            at += 1;
        }
        let mut token =
            Token { range: start..at, position: self.position, quoted, leet: false, number: false, unspaced: false, letters };
        if self.class(at).is_some_and(|(_, class)| class <= Class::Symbol) {
            self.read_on(&mut token);
        }
        self.at = token.range.end;
        self.position = self.position.saturating_add(1);
        Some(token)
    }
}

const fn classes() -> [Class; 256] {
    let mut classes = [Class::Other; 256];
    let mut at = 0;
    while at < classes.len() {
        classes[at] = match at as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'@' | b'$' | b'!' | b'|' | b'+' => Class::Symbol,
            b'.' | b'?' | b';' => Class::End,
            b'\n' => Class::Line,
            b'"' | b'\'' | b'`' => Class::Quote,
            b'[' | b'(' | b'*' => Class::Bracket,
            0x80.. => Class::Foreign,
            _ => Class::Other,
        };
        at += 1;
    }
    classes
}
