//! The words the rules are made of, found in a text however they are spelled.
//!
//! A word is looked up as it stands, then by its stem, then with its digits and symbols read as letters (`1gn0r3`), then with two
//! letters swapped or its middle scrambled (`ingore`, `isntructoins`): all but the stem are one look-up, by the sum of its letters. A
//! word nobody knows that is long, or of a script written without spaces, is cut into the words we know.

use super::index::Index;
use super::letters::{are_alike, is_scrambled, sum};
use super::tokens::Token;
use crate::policy::normalize::Character;
#[cfg(test)]
use crate::policy::normalize::work;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind, PatternID};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

/// A word of the lexicon: its place in what [`Lexicon::new`] was given.
pub type Id = u32;

/// Longest entry, in bytes: bounds how far any lookup reads.
pub const MAX_WORD: usize = 40;
/// More bytes than this after a stem are not its ending but another word.
const MAX_ENDING: usize = 12;
/// Words with fewer letters are not guessed from misspellings.
const MIN_MISSPELLED: usize = 4;
/// Unknown words with fewer bytes are not cut up.
const MIN_CUT: usize = 12;
/// Pieces of a cut-up word are at least this long.
const MIN_PIECE: usize = 3;
/// Bytes by which stems are looked up.
const BEGINNING: usize = 3;

/// Words, by every spelling.
#[derive(Debug)]
pub struct Lexicon {
    entries: Vec<Entry>,
    /// For each entry the longest stem it begins with, if it is a word.
    also: Vec<Option<Id>>,
    /// By the sum of their letters, words and stems alike.
    letters: Index,
    /// By how they begin, longest first.
    stems: Index,
    /// The longest entry at each place of a run, and for each of its patterns the word and the stem spelled so.
    pieces: AhoCorasick,
    spelled: Vec<[Option<Id>; 2]>,
}

/// A word, or the beginning of words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Folded, at most [`MAX_WORD`] bytes.
    pub spelling: Box<str>,
    /// Any ending may follow.
    pub is_stem: bool,
}

impl Lexicon {
    /// Indexes the entries, each of which is there once.
    ///
    /// # Errors
    ///
    /// Too many entries for an automaton.
    pub fn new(entries: Vec<Entry>) -> Result<Self, String> {
        let all = || (0..).zip(&entries);
        let letters = Index::new(all().map(|(id, entry)| (sum(entry.spelling.as_bytes()), id)));
        let mut stems: Vec<(Id, &Entry)> = all().filter(|(_, entry)| entry.is_stem).collect();
        stems.sort_by_key(|(_, entry)| Reverse(entry.spelling.len()));
        let stems = Index::new(stems.iter().filter_map(|(id, entry)| Some((beginning(entry.spelling.as_bytes())?, *id))));
        let mut spellings: BTreeMap<&str, [Option<Id>; 2]> = BTreeMap::new();
        for (id, entry) in all().filter(|(_, entry)| entry.spelling.len() >= MIN_PIECE) {
            let [word, stem] = spellings.entry(&entry.spelling).or_default();
            *(if entry.is_stem { stem } else { word }) = Some(id);
        }
        let pieces = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::LeftmostLongest)
            .prefilter(false)
            .build(spellings.keys())
            .map_err(|error| error.to_string())?;
        let spelled = spellings.into_values().collect();
        let mut lexicon = Self { also: Vec::new(), letters, stems, pieces, spelled, entries };
        lexicon.also = lexicon.entries.iter().map(|entry| lexicon.stem(&entry.spelling)).collect();
        Ok(lexicon)
    }

    /// Whether [`Lexicon::find`] has to be asked: most words of most texts are none of ours however one reads them.
    #[inline(always)]
    pub fn may_know(&self, word: &[u8], token: &Token) -> bool {
        self.letters.may_have(token.letters)
            || beginning(word).is_some_and(|beginning| self.stems.may_have(beginning))
            || (token.leet && !token.number)
            || token.unspaced
            || word.len() >= MIN_CUT
    }

    /// Calls `found` with each known word in a token of `text`, and where it stands.
    #[inline(always)]
    pub fn find(&self, text: &str, token: &Token, mut found: impl FnMut(Range<usize>, Id)) {
        let range = token.range.clone();
        let Some(word) = text.get(range.clone()) else { return };
        if token.unspaced {
            return self.cut(word, range.start, found);
        }
        let alike = self.letters.get(token.letters);
        if let Some(id) = self.exactly(word, alike) {
            found(range.clone(), id);
            if let Some(stem) = self.also.get(id as usize).copied().flatten() {
                found(range, stem);
            }
            return;
        }
        let stem = self.stem(word);
        if token.leet && stem.is_none() {
            self.find_leet(word, range.start, alike, found);
        } else if let Some(id) = self.misspelled(word, alike) {
            // A short stem may begin the misspelling of another word.
            [Some(id), stem].into_iter().flatten().for_each(|id| found(range.clone(), id));
        } else if let Some(id) = stem {
            found(range, id);
        } else if word.len() >= MIN_CUT {
            self.cut(word, range.start, found);
        }
    }

    fn entry(&self, id: Id) -> Option<&Entry> {
        self.entries.get(id as usize)
    }

    /// Those of the entries that are whole words.
    fn words<'a>(&'a self, alike: &'a [Id]) -> impl Iterator<Item = (Id, &'a [u8])> {
        let word = |id: &Id| self.entry(*id).filter(|entry| !entry.is_stem).map(|entry| (*id, entry.spelling.as_bytes()));
        alike.iter().filter_map(word)
    }

    #[inline]
    fn exactly(&self, word: &str, alike: &[Id]) -> Option<Id> {
        self.words(alike).find(|(_, spelling)| *spelling == word.as_bytes()).map(|(id, _)| id)
    }

    /// The longest stem the word begins with.
    #[inline]
    fn stem(&self, word: &str) -> Option<Id> {
        let begins = |stem: &str| word.strip_prefix(stem).is_some_and(|ending| ending.len() <= MAX_ENDING);
        let stems = self.stems.get(beginning(word.as_bytes())?);
        stems.iter().copied().find(|id| self.entry(*id).is_some_and(|entry| begins(&entry.spelling)))
    }

    /// `word` stands at `at`, and has digits or symbols in it.
    fn find_leet(&self, word: &str, mut at: usize, alike: &[Id], mut found: impl FnMut(Range<usize>, Id)) {
        if word.len() <= MAX_WORD && word.is_ascii() && word.bytes().any(|b| b.is_ascii_alphabetic()) {
            let written = |id: &&Id| self.entry(**id).is_some_and(|entry| are_alike(entry.spelling.as_bytes(), word.as_bytes()));
            if let Some(id) = alike.iter().find(written) {
                return found(at..at + word.len(), *id);
            }
        }
        // Not a word in disguise: words with something between or beside them.
        for part in word.split_inclusive(|c: char| !is_letter(c)) {
            let next = at + part.len();
            let part = part.strip_suffix(|c: char| !is_letter(c)).unwrap_or(part);
            if part.len() > 1 {
                if let Some(id) = self.exactly(part, self.letters.get(sum(part.as_bytes()))).or_else(|| self.stem(part)) {
                    found(at..at + part.len(), id);
                } else if part.len() >= MIN_CUT || is_unspaced(part) {
                    self.cut(part, at, &mut found);
                }
            }
            at = next;
        }
    }

    /// The word of the same letters with the same ends, or with two neighbours swapped.
    #[inline]
    fn misspelled(&self, word: &str, alike: &[Id]) -> Option<Id> {
        if alike.is_empty() || word.len() < MIN_MISSPELLED || word.len() > MAX_WORD || !word.is_ascii() {
            return None;
        }
        self.words(alike).find(|(_, spelling)| is_scrambled(word.as_bytes(), spelling)).map(|(id, _)| id)
    }

    /// The known words a run without spaces is made of, longest first, left to right. Of a Latin run no longer than words get, which is
    /// usually one, they have to be most of it. The run stands at `at`.
    fn cut(&self, run: &str, at: usize, mut found: impl FnMut(Range<usize>, Id)) {
        #[cfg(test)]
        work::count(10 + 2 * run.len());
        if run.len() <= MAX_WORD && run.is_ascii() {
            let (mut pieces, mut covered) = (0, 0);
            for piece in self.pieces.find_iter(run) {
                pieces += self.spelled(piece.pattern()).count();
                covered += piece.len() * self.spelled(piece.pattern()).count();
            }
            if pieces < 2 || covered * 4 < run.len() * if pieces == 2 { 3 } else { 2 } {
                return;
            }
        }
        for piece in self.pieces.find_iter(run) {
            self.spelled(piece.pattern()).for_each(|id| found(at + piece.start()..at + piece.end(), id));
        }
    }

    /// The word and the stem of a pattern of `pieces`.
    fn spelled(&self, pattern: PatternID) -> impl Iterator<Item = Id> {
        self.spelled.get(pattern.as_usize()).into_iter().flatten().flatten().copied()
    }
}

#[inline(always)]
fn beginning(word: &[u8]) -> Option<u64> {
    let [a, b, c] = *word.first_chunk::<BEGINNING>()?;
    Some(u64::from(a) << 16 | u64::from(b) << 8 | u64::from(c))
}

fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { Character::of(c).is_alphabetic() }
}

/// Whether a word is of a script that puts no spaces between words, or glues particles to them.
fn is_unspaced(word: &str) -> bool {
    !word.is_ascii() && word.chars().any(|c| Character::of(c).is_unspaced())
}
