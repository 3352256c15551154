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

static TABLE: [OnceLock<Box<[Character; PAGE]>>; PAGES] = [const { OnceLock::new() }; PAGES];

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
    /// Several, or what depends on what stands before it.
    Other,
}

/// The bits of a code point.
const CODE: u32 = (1 << 21) - 1;
const OTHER: u32 = CODE;
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
            Some(page) => page.get_or_init(|| page_of(code / PAGE))[code % PAGE],
            None if is_ignorable(c) => Self(c as u32 | INVISIBLE),
            None => Self(c as u32),
        }
    }

    /// What becomes of it, lookalikes aside.
    #[inline]
    pub fn becomes(self) -> Becomes {
        if self.0 & INVISIBLE != 0 {
            return Becomes::Nothing;
        }
        char::from_u32(self.0 & CODE).map_or(Becomes::Other, Becomes::One)
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

    fn work_out(c: char) -> Self {
        let becomes = match Becomes::of(c) {
            Becomes::One(one) => one as u32,
            Becomes::Nothing => c as u32 | INVISIBLE,
            Becomes::Other => OTHER,
        };
        let is = |bit: u32, is: bool| if is { bit } else { 0 };
        let is_alphabetic = c.is_alphabetic();
        let is_unspaced = matches!(c,
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
        Self(
            becomes
                | is(WORD, is_alphabetic || is_word(c))
                | is(ALPHABETIC, is_alphabetic)
                | is(LATIN, is_latin(c))
                | is(LOOKALIKE, lookalike(c).is_some())
                | is(UNSPACED, is_unspaced),
        )
    }
}

impl Becomes {
    fn of(c: char) -> Self {
        if is_ignorable(c) {
            return Self::Nothing;
        }
        if c == '\u{1f3f4}' || is_combining_mark(c) {
            return Self::Other;
        }
        let (parts, count) = decomposed(c);
        let parts = parts.get(..count).unwrap_or_default();
        if parts == [c] && plain_latin(c).is_none() && !matches!(c, 'ß' | 'æ' | 'œ') {
            let mut lower = c.to_lowercase();
            return match (lower.next(), lower.next()) {
                (Some(one), None) => Self::One(one),
                _ => Self::Other,
            };
        }
        let mut one = None;
        for part in parts.iter().flat_map(|part| part.to_lowercase()) {
            let next = match one {
                None if is_combining_mark(part) || matches!(part, 'ß' | 'æ' | 'œ') => return Self::Other,
                None => plain_latin(part).unwrap_or(part),
                Some(_) if !is_combining_mark(part) => return Self::Other,
                Some(base) if is_word(base) && !is_latin(base) => match compose(base, part) {
                    Some(joined) => joined,
                    None => return Self::Other,
                },
                Some(base) => base,
            };
            one = Some(next);
        }
        one.map_or(Self::Other, Self::One)
    }
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

#[cold]
fn page_of(page: usize) -> Box<[Character; PAGE]> {
    let first = (page * PAGE) as u32;
    // Surrogates are no characters and are never asked for.
    let character = |at: usize| Character::work_out(char::from_u32(first + at as u32).unwrap_or('\0'));
    Box::new(std::array::from_fn(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_is_what_is_worked_out() {
        for c in (0..=0x10_ffff).step_by(7).filter_map(char::from_u32) {
            let worked_out = Character::work_out(c);
            assert_eq!(Character::of(c), worked_out, "{c:?}");
            assert_eq!(worked_out.becomes(), Becomes::of(c), "{c:?}");
            assert_eq!(worked_out.is_word(), is_word(c), "{c:?}");
            assert_eq!(worked_out.stays(c), Becomes::of(c) == Becomes::One(c), "{c:?}");
        }
    }
}
