//! What folding does to each character, looked up instead of worked out: the tables of Unicode are deep.
//!
//! A page of 256 characters is worked out when the first of them is met, and stays.

use super::letters::{is_ignorable, is_latin, is_word, lookalike, plain_latin};
use std::sync::OnceLock;
use unicode_normalization::char::{compose, decompose_compatible, is_combining_mark};

/// A compatibility form may be a whole sentence (U+FDFA); no character becomes more than this many.
pub const MAX_FROM_ONE: usize = 4;

/// Characters of a page.
const PAGE: usize = 256;
/// Pages of the first four planes. The next have no characters yet but invisible ones and those of private use.
const PAGES: usize = 0x4_0000 / PAGE;

static TABLE: [OnceLock<Box<Page>>; PAGES] = [const { OnceLock::new() }; PAGES];

struct Page {
    characters: [Character; PAGE],
    /// What those become that become several.
    several: Vec<Box<str>>,
}

/// One character, as folding and reading see it: what it becomes in the lower bits, what it is above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character(u32);

/// What becomes of a character whatever stands around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Becomes {
    /// This one, maybe itself.
    One(char),
    /// Nothing: it is invisible, or a control character.
    Nothing,
    /// Several.
    Several(&'static str),
    /// What depends on what stands before it.
    Other,
}

/// The bits of a code point.
const CODE: u32 = (1 << 21) - 1;
const OTHER: u32 = CODE;
/// Beyond all characters: the first of those that become several.
const SEVERAL: u32 = 0x11_0000;
const WORD: u32 = 1 << 21;
const ALPHABETIC: u32 = 1 << 22;
const LATIN: u32 = 1 << 23;
const INVISIBLE: u32 = 1 << 24;
const LOOKALIKE: u32 = 1 << 25;
const UNSPACED: u32 = 1 << 26;

impl Character {
    /// Looks `c` up.
    #[inline]
    pub fn of(c: char) -> Self {
        let code = c as usize;
        match TABLE.get(code / PAGE) {
            Some(page) => page.get_or_init(|| Page::new(code / PAGE)).characters[code % PAGE],
            None if is_ignorable(c) => Self(c as u32 | INVISIBLE | if is_combining_mark(c) { WORD } else { 0 }),
            None => Self(c as u32),
        }
    }

    /// What becomes of `c`, whose entry this is, lookalikes aside.
    #[inline]
    pub fn becomes(self, c: char) -> Becomes {
        match self.0 & CODE {
            _ if self.0 & INVISIBLE != 0 => Becomes::Nothing,
            OTHER => Becomes::Other,
            code @ SEVERAL.. => several(c, code - SEVERAL).map_or(Becomes::Other, Becomes::Several),
            code => char::from_u32(code).map_or(Becomes::Other, Becomes::One),
        }
    }

    /// Folding leaves it as it is, lookalikes aside.
    #[inline]
    pub fn stays(self, c: char) -> bool {
        self.0 & (CODE | INVISIBLE) == c as u32
    }

    /// Part of a word: what the tokens of the rules are made of.
    #[inline]
    pub fn is_word(self) -> bool {
        self.0 & WORD != 0
    }

    /// [`char::is_alphabetic`]
    #[inline]
    pub fn is_alphabetic(self) -> bool {
        self.0 & ALPHABETIC != 0
    }

    /// A letter of the Latin script, in any of its compatibility forms.
    #[inline]
    pub fn is_latin(self) -> bool {
        self.0 & LATIN != 0
    }

    /// Taken for a Latin letter.
    #[inline]
    pub fn is_lookalike(self) -> bool {
        self.0 & LOOKALIKE != 0
    }

    /// Part of a word or nothing to be seen in it.
    #[inline]
    pub fn goes_on(self) -> bool {
        self.0 & (WORD | INVISIBLE) != 0
    }

    /// Of a script that puts no spaces between words, or glues particles to them.
    #[inline]
    pub fn is_unspaced(self) -> bool {
        self.0 & UNSPACED != 0
    }

    /// The entry of `c`, which becomes what `code` says.
    fn work_out(c: char, code: u32) -> Self {
        let is = |bit: u32, is: bool| if is { bit } else { 0 };
        let is_alphabetic = c.is_alphabetic();
        let is_unspaced = matches!(c,
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
        Self(
            code | is(WORD, is_alphabetic || is_word(c))
                | is(ALPHABETIC, is_alphabetic)
                | is(LATIN, is_latin(c))
                | is(INVISIBLE, is_ignorable(c))
                | is(LOOKALIKE, lookalike(c).is_some())
                | is(UNSPACED, is_unspaced),
        )
    }
}

impl Page {
    #[cold]
    fn new(page: usize) -> Box<Self> {
        let first = (page * PAGE) as u32;
        let mut several: Vec<Box<str>> = Vec::new();
        let characters = std::array::from_fn(|at| {
            // Surrogates are no characters and are never asked for.
            let c = char::from_u32(first + at as u32).unwrap_or('\0');
            let becomes = becomes(c).unwrap_or_default();
            let mut all = becomes.chars();
            let code = match (all.next(), all.next()) {
                (None, _) => OTHER,
                (Some(one), None) => one as u32,
                _ => {
                    several.push(becomes.into());
                    SEVERAL + several.len() as u32 - 1
                }
            };
            Character::work_out(c, code)
        });
        Box::new(Self { characters, several })
    }
}

fn several(c: char, number: u32) -> Option<&'static str> {
    TABLE.get(c as usize / PAGE)?.get()?.several.get(number as usize).map(|several| &**several)
}

/// What becomes of `c` whatever stands around it; `None` for what depends on that, and nothing for the invisible.
fn becomes(c: char) -> Option<String> {
    if is_ignorable(c) {
        return Some(String::new());
    }
    if c == '\u{1f3f4}' || is_combining_mark(c) {
        return None;
    }
    let (parts, count) = decomposed(c);
    let parts = parts.get(..count).unwrap_or_default();
    if parts == [c] && plain_latin(c).is_none() && !matches!(c, 'ß' | 'æ' | 'œ') {
        return Some(c.to_lowercase().collect());
    }
    let mut out = String::new();
    for part in parts.iter().flat_map(|part| part.to_lowercase()) {
        match out.chars().next_back() {
            None if is_combining_mark(part) => return None,
            Some(base) if is_combining_mark(part) => {
                if is_word(base) && !is_latin(base) {
                    let joined = compose(base, part);
                    if joined.is_some() {
                        out.pop();
                    }
                    out.push(joined.unwrap_or(part));
                }
            }
            _ => match part {
                'ß' => out.push_str("ss"),
                'æ' => out.push_str("ae"),
                'œ' => out.push_str("oe"),
                _ => out.push(plain_latin(part).unwrap_or(part)),
            },
        }
    }
    Some(out)
}

/// The compatibility decomposition, as far as it is kept. Hangul syllables stay whole: their letters would only be put together
/// again.
pub fn decomposed(c: char) -> ([char; MAX_FROM_ONE], usize) {
    let (mut parts, mut count) = ([c; MAX_FROM_ONE], 0);
    if ('\u{ac00}'..='\u{d7a3}').contains(&c) {
        return (parts, 1);
    }
    decompose_compatible(c, |part| {
        if let Some(slot) = parts.get_mut(count) {
            *slot = part;
            count += 1;
        }
    });
    (parts, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_is_what_is_worked_out() {
        for c in (0..=0x10_ffff).step_by(7).filter_map(char::from_u32) {
            let (character, becomes) = (Character::of(c), becomes(c));
            assert_eq!(character.is_word(), is_word(c), "{c:?}");
            assert_eq!(character.is_latin(), is_latin(c), "{c:?}");
            assert_eq!(character.is_alphabetic(), c.is_alphabetic(), "{c:?}");
            assert_eq!(character.goes_on(), is_word(c) || is_ignorable(c), "{c:?}");
            assert_eq!(character.is_lookalike(), lookalike(c).is_some(), "{c:?}");
            match character.becomes(c) {
                Becomes::Nothing => assert!(is_ignorable(c), "{c:?}"),
                Becomes::One(one) => assert_eq!(becomes, Some(one.to_string()), "{c:?}"),
                Becomes::Several(several) => assert_eq!(becomes.as_deref(), Some(several), "{c:?}"),
                Becomes::Other => assert!(becomes.is_none_or(|becomes| becomes.is_empty()), "{c:?}"),
            }
            assert_eq!(character.stays(c), character.becomes(c) == Becomes::One(c), "{c:?}");
        }
    }
}
