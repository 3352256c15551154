//! The words the rules are made of, found in a text however they are spelled.
//!
//! A word is looked up as it stands, then by its stem, then with its digits and symbols read as letters (`1gn0r3`), then with two
//! letters swapped or its middle scrambled (`ingore`, `isntructoins`). A word nobody knows that is long, or of a script written
//! without spaces, is cut into the words we know.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

/// A set of words the rules treat alike; an index into the rules' tables.
pub type Class = u16;

/// Longest entry, in bytes: bounds how far any lookup reads.
const MAX_WORD: usize = 40;
/// More bytes than this after a stem are not its ending but another word.
const MAX_ENDING: usize = 12;
/// Words with fewer letters are not guessed from misspellings.
const MIN_MISSPELLED: usize = 4;
/// Unknown words with fewer bytes are not cut up.
const MIN_CUT: usize = 12;
/// Pieces of a cut-up Latin word are at least this long.
const MIN_PIECE: usize = 3;

/// Words, by every spelling.
#[derive(Debug, Default)]
pub struct Lexicon {
    /// The classes of each word.
    classes: Vec<Vec<Class>>,
    spellings: Vec<Box<str>>,
    words: Map<Box<str>, u32>,
    stems: Map<Box<str>, u32>,
    /// By skeleton: [`skeleton`].
    skeletons: Map<Box<str>, u32>,
    /// By the letters, whatever their order.
    letters: Map<u32, Vec<u32>>,
    /// The first three bytes of every word and of every stem, hashed: most words of most texts go no further.
    beginnings: Beginnings,
    stem_beginnings: Beginnings,
}

impl Lexicon {
    /// Puts `word` (folded; `*` at the end makes it a stem) in `class`.
    pub fn add(&mut self, word: &str, class: Class) {
        let (word, is_stem) = word.strip_suffix('*').map_or((word, false), |stem| (stem, true));
        if word.is_empty() || word.len() > MAX_WORD {
            return;
        }
        let map = if is_stem { &mut self.stems } else { &mut self.words };
        let next = self.classes.len() as u32;
        let id = *map.entry(word.into()).or_insert(next);
        if id == next {
            self.classes.push(Vec::new());
            self.spellings.push(word.into());
            let beginnings = if is_stem { &mut self.stem_beginnings } else { &mut self.beginnings };
            beginnings.add(word.as_bytes());
            if word.is_ascii() {
                self.skeletons.entry(skeleton(word).into()).or_insert(id);
                if word.len() >= MIN_MISSPELLED && !is_stem {
                    self.letters.entry(letters(word.as_bytes())).or_default().push(id);
                }
            }
        }
        if let Some(classes) = self.classes.get_mut(id as usize)
            && !classes.contains(&class)
        {
            classes.push(class);
        }
    }

    /// Calls `found` with each known word in the token at `range` of `text`, where it stands, and its classes.
    pub fn find(
        &self,
        text: &str,
        range: Range<usize>,
        leet: bool,
        buffer: &mut String,
        mut found: impl FnMut(Range<usize>, &[Class]),
    ) {
        let Some(token) = text.get(range.clone()) else { return };
        if is_unspaced(token) {
            return self.cut(token, |piece, id| found(range.start + piece.start..range.start + piece.end, self.classes_of(id)));
        }
        let stem = self.stem(token);
        if let Some(word) = self.words.get(token) {
            [Some(*word), stem].into_iter().flatten().for_each(|id| found(range.clone(), self.classes_of(id)));
        } else if leet && stem.is_none() {
            self.find_leet(text, range, buffer, found);
        } else if let Some(id) = self.misspelled(token) {
            // A short stem may begin the misspelling of another word.
            [Some(id), stem].into_iter().flatten().for_each(|id| found(range.clone(), self.classes_of(id)));
        } else if let Some(id) = stem {
            found(range, self.classes_of(id));
        } else if token.len() >= MIN_CUT {
            self.cut(token, |piece, id| found(range.start + piece.start..range.start + piece.end, self.classes_of(id)));
        }
    }

    fn classes_of(&self, id: u32) -> &[Class] {
        self.classes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// The longest stem the token begins with.
    fn stem(&self, token: &str) -> Option<u32> {
        if !self.stem_beginnings.may_begin(token.as_bytes()) {
            return None;
        }
        let shortest = token.len().saturating_sub(MAX_ENDING).max(1);
        (shortest..=token.len().min(MAX_WORD)).rev().find_map(|end| self.stems.get(token.get(..end)?).copied())
    }

    fn find_leet(&self, text: &str, range: Range<usize>, buffer: &mut String, mut found: impl FnMut(Range<usize>, &[Class])) {
        let token = text.get(range.clone()).unwrap_or_default();
        if token.len() <= MAX_WORD && token.bytes().any(|b| b.is_ascii_alphabetic()) {
            buffer.clear();
            buffer.extend(token.bytes().map(|b| char::from(skeleton_byte(b))));
            if let Some(id) = self.skeletons.get(buffer.as_str()) {
                return found(range, self.classes_of(*id));
            }
        }
        // Not a word in disguise: words with something between or beside them.
        let mut at = range.start;
        for part in token.split(|c: char| !c.is_alphabetic()) {
            let piece = at..at + part.len();
            at = piece.end;
            at += text.get(at..range.end).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
            if part.len() > 1 {
                if let Some(id) = self.words.get(part).copied().or_else(|| self.stem(part)) {
                    found(piece, self.classes_of(id));
                } else if part.len() >= MIN_CUT || is_unspaced(part) {
                    self.cut(part, |inner, id| found(piece.start + inner.start..piece.start + inner.end, self.classes_of(id)));
                }
            }
        }
    }

    /// The word of the same letters with the same ends, or with two neighbours swapped.
    fn misspelled(&self, token: &str) -> Option<u32> {
        if token.len() < MIN_MISSPELLED || token.len() > MAX_WORD || !token.is_ascii() {
            return None;
        }
        let token = token.as_bytes();
        self.letters.get(&letters(token))?.iter().copied().find(|id| {
            let word = self.spellings.get(*id as usize).map_or(&[][..], |word| word.as_bytes());
            is_scrambled(token, word)
        })
    }

    /// The known words a run without spaces is made of, longest first, left to right. Of a Latin run no longer than words get, which is
    /// usually one, they have to be most of it.
    fn cut(&self, run: &str, mut found: impl FnMut(Range<usize>, u32)) {
        if run.is_ascii() && run.len() <= MAX_WORD {
            let (mut pieces, mut covered) = (0, 0);
            self.pieces(run, |piece, _| {
                pieces += 1;
                covered += piece.len();
            });
            if pieces < 2 || covered * 4 < run.len() * if pieces == 2 { 3 } else { 2 } {
                return;
            }
        }
        self.pieces(run, &mut found);
    }

    fn pieces(&self, run: &str, mut found: impl FnMut(Range<usize>, u32)) {
        let mut at = 0;
        while at < run.len() {
            let rest = run.get(at..).unwrap_or_default();
            match self.longest(rest) {
                Some((len, ids)) => {
                    ids.into_iter().flatten().for_each(|id| found(at..at + len, id));
                    at += len;
                }
                None => at += rest.chars().next().map_or(1, char::len_utf8),
            }
        }
    }

    /// The longest entry `rest` begins with: its bytes, and the word and the stem spelled so.
    fn longest(&self, rest: &str) -> Option<(usize, [Option<u32>; 2])> {
        let bytes = rest.as_bytes();
        if !self.beginnings.may_begin(bytes) && !self.stem_beginnings.may_begin(bytes) {
            return None;
        }
        (MIN_PIECE..=rest.len().min(MAX_WORD)).rev().find_map(|end| {
            let piece = rest.get(..end)?;
            let ids = [self.words.get(piece).copied(), self.stems.get(piece).copied()];
            ids.iter().any(Option::is_some).then_some((end, ids))
        })
    }
}

/// Whether a word is of a script that puts no spaces between words, or glues particles to them.
pub fn is_unspaced(token: &str) -> bool {
    let unspaced = |c| matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    !token.is_ascii() && token.chars().any(unspaced)
}

/// What is left of a word when the characters that are written for one another become one: `1`, `l`, `|` and `!` are all `i`.
fn skeleton(word: &str) -> String {
    word.bytes().map(|b| char::from(skeleton_byte(b))).collect()
}

/// The character that stands for all those written for one another.
pub const fn skeleton_byte(b: u8) -> u8 {
    match b {
        b'0' => b'o',
        b'1' | b'l' | b'|' | b'!' => b'i',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' | b'+' => b't',
        b'8' => b'b',
        b'6' | b'9' => b'g',
        b'2' => b'z',
        other => other,
    }
}

/// The same for every order of the same letters.
fn letters(word: &[u8]) -> u32 {
    word.iter().fold(0, |sum: u32, b| {
        let mixed = u32::from(*b).wrapping_mul(0x9e37_79b1);
        sum.wrapping_add(mixed ^ (mixed >> 15) ^ mixed.rotate_left(9))
    })
}

/// For two words of the same letters: same first and last one, or one pair of neighbours swapped.
fn is_scrambled(token: &[u8], word: &[u8]) -> bool {
    if token.len() != word.len() {
        return false;
    }
    if token.first() == word.first() && token.last() == word.last() {
        return true;
    }
    let mut differ = (0..word.len()).filter(|at| token.get(*at) != word.get(*at));
    match (differ.next(), differ.next(), differ.next()) {
        (Some(a), Some(b), None) => b == a + 1 && token.get(a) == word.get(b) && token.get(b) == word.get(a),
        _ => false,
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// FNV-1a: the keys are short and the tables are ours, so nobody can make them collide on purpose but themselves.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    }

    fn finish(&self) -> u64 {
        // The table takes its control byte from the top, where a short key leaves little.
        self.0 ^ self.0.rotate_left(29)
    }
}

/// A set of three-byte beginnings that may say yes too often.
#[derive(Debug)]
struct Beginnings(Vec<u64>);

impl Default for Beginnings {
    fn default() -> Self {
        Self(vec![0; 64])
    }
}

impl Beginnings {
    fn add(&mut self, word: &[u8]) {
        // Shorter words are only ever looked up whole.
        if let [a, b, c, ..] = word
            && let hash = Self::hash(*a, *b, *c)
            && let Some(bits) = self.0.get_mut(hash / 64)
        {
            *bits |= 1 << (hash % 64);
        }
    }

    fn may_begin(&self, text: &[u8]) -> bool {
        match text {
            [a, b, c, ..] => {
                let hash = Self::hash(*a, *b, *c);
                self.0.get(hash / 64).is_some_and(|bits| bits & (1 << (hash % 64)) != 0)
            }
            _ => false,
        }
    }

    fn hash(a: u8, b: u8, c: u8) -> usize {
        let key = u32::from(a) | u32::from(b) << 8 | u32::from(c) << 16;
        (key.wrapping_mul(0x9e37_79b1) >> 20) as usize
    }
}
