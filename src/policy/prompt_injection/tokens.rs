//! Folded text cut into words.

use crate::policy::normalize::is_word;
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
}

/// Two slots of a rule may meet across the end of a sentence, but not as easily.
const SENTENCE: u32 = 3;
/// Hardly any rule reaches over an empty line.
const PARAGRAPH: u32 = 5;

/// Bytes most texts are made of; the rest is looked at one by one.
const CLASS: [u8; 256] = classes();
const LETTER: u8 = 1;
const SPACE: u8 = 2;

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

    /// The length in bytes of the word character at `at`, with whether it may stand for another one.
    fn word_char(&self, at: usize) -> Option<(usize, bool)> {
        let b = *self.text.as_bytes().get(at)?;
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => Some((1, false)),
            b'0'..=b'9' => Some((1, true)),
            0..0x80 => None,
            _ => self.text.get(at..)?.chars().next().filter(|c| is_word(*c)).map(|c| (c.len_utf8(), false)),
        }
    }

    /// A symbol inside a word that may stand for a letter: something of the word has to follow.
    fn symbol(&self, at: usize, inside: bool) -> bool {
        let bytes = self.text.as_bytes();
        match bytes.get(at) {
            Some(b'@' | b'$') => inside || bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic),
            Some(b'!') => bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic),
            Some(b'|' | b'+') => inside && bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic),
            _ => false,
        }
    }

    /// Skips what is between words; whether a quotation mark came last.
    fn skip(&mut self) -> Option<bool> {
        let start = self.at;
        let (mut quoted, mut sentence, mut lines) = (false, false, 0);
        loop {
            let spaces = run(self.text.as_bytes().get(self.at..).unwrap_or_default(), SPACE);
            if spaces > 0 {
                (self.at, quoted) = (self.at + spaces, false);
            }
            if self.text.as_bytes().get(self.at).is_some_and(|b| CLASS[usize::from(*b)] == LETTER) {
                break;
            }
            let rest = self.text.get(self.at..)?;
            let c = rest.chars().next()?;
            if self.word_char(self.at).is_some() || self.symbol(self.at, false) {
                break;
            }
            let ends = matches!(c, '.' | '!' | '?' | ';') && rest.as_bytes().get(1).is_none_or(|b| b.is_ascii_whitespace());
            sentence |= ends || matches!(c, '。' | '।' | '؟' | '…');
            lines += u32::from(c == '\n');
            quoted = matches!(c, '"' | '\'' | '`' | '“' | '‘' | '„' | '«' | '「' | '『' | '‚')
                || (quoted && matches!(c, '[' | '(' | '*'));
            self.at += c.len_utf8();
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
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let quoted = self.skip()?;
        let start = self.at;
        let mut leet = false;
        loop {
            self.at += run(self.text.as_bytes().get(self.at..).unwrap_or_default(), LETTER);
            if let Some((len, digit)) = self.word_char(self.at) {
                leet |= digit;
                self.at += len;
            } else if self.symbol(self.at, self.at > start) {
                leet = true;
                self.at += 1;
            } else {
                break;
            }
        }
        let position = self.position;
        self.position = self.position.saturating_add(1);
        Some(Token { range: start..self.at, position, quoted, leet })
    }
}

/// How many bytes of a class come first.
#[inline]
fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().take_while(|b| CLASS[usize::from(**b)] == class).count()
}

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    classes[b' ' as usize] = SPACE;
    let mut letter = b'a';
    while letter <= b'z' {
        classes[letter as usize] = LETTER;
        letter += 1;
    }
    classes
}
