//! What folding does to each character, looked up instead of worked out: the tables of Unicode are deep.
//!
//! A page of 256 characters is worked out when the first of them is met, and stays. Characters beyond the planes letters are in are
//! worked out each time.

use super::letters::{is_ignorable, is_latin, is_word, lookalike, plain_latin};
use std::sync::OnceLock;
use unicode_normalization::char::{compose, decompose_compatible, is_combining_mark};

/// A compatibility form may be a whole sentence (U+FDFA); no character becomes more than this many.
pub const MAX_FROM_ONE: usize = 4;

/// Characters of a page.
const PAGE: usize = 256;
/// Pages of the first four planes.
const PAGES: usize = 0x4_0000 / PAGE;

static TABLE: [OnceLock<Box<[Character; PAGE]>>; PAGES] = [const { OnceLock::new() }; PAGES];

/// One character, as folding and reading see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character {
    /// What becomes of it, lookalikes aside.
    pub becomes: Becomes,
    /// Part of a word ([`is_word`]).
    pub is_word: bool,
    /// [`char::is_alphabetic`]
    pub is_alphabetic: bool,
    /// [`is_latin`]
    pub is_latin: bool,
    /// [`is_ignorable`]
    pub is_ignorable: bool,
    /// [`lookalike`] knows it.
    pub is_lookalike: bool,
    /// Of a script that puts no spaces between words, or glues particles to them.
    pub is_unspaced: bool,
}

/// What becomes of a character whatever stands around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Becomes {
    /// Itself.
    Itself,
    /// This other one.
    One(char),
    /// Nothing: it is invisible, or a control character.
    Nothing,
    /// Several, or what depends on what stands before it.
    Other,
}

impl Character {
    /// Looks `c` up.
    #[inline]
    pub fn of(c: char) -> Self {
        let code = c as usize;
        match TABLE.get(code / PAGE).map(|page| page.get_or_init(|| page_of(code / PAGE))) {
            Some(page) => page[code % PAGE],
            None => Self::work_out(c),
        }
    }

    fn work_out(c: char) -> Self {
        let is_alphabetic = c.is_alphabetic();
        Self {
            becomes: Becomes::of(c),
            is_word: is_alphabetic || is_word(c),
            is_alphabetic,
            is_latin: is_latin(c),
            is_ignorable: is_ignorable(c),
            is_lookalike: lookalike(c).is_some(),
            is_unspaced: matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'),
        }
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
                (Some(one), None) if one == c => Self::Itself,
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
        match one {
            Some(one) if one == c => Self::Itself,
            Some(one) => Self::One(one),
            None => Self::Other,
        }
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

fn page_of(page: usize) -> Box<[Character; PAGE]> {
    let first = (page * PAGE) as u32;
    // Surrogates are no characters and are never asked for.
    let character = |at: usize| Character::work_out(char::from_u32(first + at as u32).unwrap_or('\0'));
    Box::new(std::array::from_fn(character))
}
