//! What a model reads, whatever was written: the text folded, put together again, and decoded.
//!
//! A [`Normalizer`] turns one text into [`Scan`]s: the text itself, folded (lowercase, compatibility forms, no marks on Latin,
//! no invisible characters, lookalikes made Latin in words that mix scripts, spaced-out letters joined), and the views
//! decoded from it (escapes, base64, hex, character codes, announced rot13 and reversal), each folded the same way. Every scan maps
//! its bytes back to the source.
//!
//! Bounds: time is linear in the text; a folded text is at most [`MAX_GROWTH`] times its source; decoding goes [`MAX_DEPTH`]
//! deep and stops at twice the source in total.
//!
//! Limits, on purpose: the leet alphabet (`1gn0r3`) is a matter of words and is read by the lexicon, not here, so that scans stay
//! readable; ciphers nobody announces, and encodings other than those named, are not looked for.

mod codes;
mod encoded;
mod fold;
mod letters;
mod map;
mod spacing;
mod unescape;

#[cfg(test)]
mod tests;

pub use fold::Folding;
pub use letters::is_word;
pub use map::{MAX_TEXT, OffsetMap};

use std::ops::Range;

/// How often an encoded text may itself be encoded.
pub const MAX_DEPTH: usize = 3;
/// A folded text is at most this many times as long as what it was folded from.
pub const MAX_GROWTH: usize = 6;
/// Decoded views together are at most this many times the source.
const MAX_VIEWS: usize = 2;
/// Memory beyond this is given back after a text.
const KEEP: usize = 1 << 20;

/// Turns texts into what is scanned. Immutable, shared by all requests.
#[derive(Debug, Clone, Copy)]
pub struct Normalizer {
    folding: Folding,
    decodes: bool,
}

/// What a scan is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// The text itself.
    #[default]
    Plain,
    /// The text with its escapes decoded.
    Unescaped,
    /// What stood in base64, hex or character codes.
    Decoded,
    /// The text rotated by thirteen.
    Rot13,
    /// The text back to front.
    Reversed,
}

/// One text to scan, and where its bytes came from.
#[derive(Debug, Default)]
pub struct Scan {
    text: String,
    view: View,
    hidden: usize,
    /// From `text` towards what was folded: the joining of letters (if `joined`), then the folding.
    layers: [OffsetMap; 2],
    joined: bool,
    /// From the text that was folded to the source: one for each depth of decoding.
    decoding: Vec<OffsetMap>,
}

/// Memory that is used again for the next text.
#[derive(Debug, Default)]
pub struct Scratch {
    scan: Scan,
    spare: String,
}

impl Normalizer {
    /// `decodes` is whether escapes, base64, hex, character codes, rot13 and reversed text are looked into.
    pub fn new(folding: Folding, decodes: bool) -> Self {
        Self { folding, decodes }
    }

    /// Calls `visit` with the folded text, then with each decoded view.
    pub fn scans(&self, text: &str, scratch: &mut Scratch, mut visit: impl FnMut(&Scan)) {
        let text = &text[..text.floor_char_boundary(MAX_TEXT / MAX_GROWTH)];
        scratch.scan.decoding.clear();
        self.fold(text, View::Plain, scratch);
        visit(&scratch.scan);
        if self.decodes {
            let announced = Announced::read(&scratch.scan.text);
            let mut budget = text.len().saturating_mul(MAX_VIEWS);
            self.decode(text, &mut Vec::new(), &mut budget, scratch, &mut visit);
            if announced.rot13 {
                self.whole(text, View::Rot13, encoded::rot13, &mut budget, scratch, &mut visit);
            }
            if announced.reversed {
                self.whole(text, View::Reversed, encoded::reversed, &mut budget, scratch, &mut visit);
            }
        }
        scratch.shrink();
    }

    /// Folds `source` into the scratch's scan, whose `decoding` is already that of `source`.
    fn fold(&self, source: &str, view: View, scratch: &mut Scratch) {
        let Scratch { scan, spare } = scratch;
        let [joins, folds] = &mut scan.layers;
        scan.text.clear();
        joins.clear();
        folds.clear();
        scan.view = view;
        scan.hidden = fold::fold(source, self.folding, &mut scan.text, folds);
        spare.clear();
        scan.joined = spacing::join(&scan.text, spare, joins);
        if scan.joined {
            std::mem::swap(&mut scan.text, spare);
        }
    }

    /// Visits the views of `text`, which lies `path.len()` decodings deep.
    fn decode(
        &self,
        text: &str,
        path: &mut Vec<OffsetMap>,
        budget: &mut usize,
        scratch: &mut Scratch,
        visit: &mut impl FnMut(&Scan),
    ) {
        if path.len() == MAX_DEPTH {
            return;
        }
        for (view, decoder) in DECODERS {
            let (mut out, mut map) = (String::new(), OffsetMap::default());
            if !decoder(text, &mut out, &mut map) || out.len() > *budget {
                continue;
            }
            *budget -= out.len();
            path.push(map);
            scratch.scan.decoding.clone_from(path);
            self.fold(&out, view, scratch);
            visit(&scratch.scan);
            self.decode(&out, path, budget, scratch, visit);
            path.pop();
        }
    }

    /// Visits one rewriting of the whole text.
    fn whole(
        &self,
        text: &str,
        view: View,
        rewrite: fn(&str, &mut String, &mut OffsetMap),
        budget: &mut usize,
        scratch: &mut Scratch,
        visit: &mut impl FnMut(&Scan),
    ) {
        if text.len() > *budget {
            return;
        }
        *budget -= text.len();
        let (mut out, mut map) = (String::with_capacity(text.len()), OffsetMap::default());
        rewrite(text, &mut out, &mut map);
        scratch.scan.decoding.clear();
        scratch.scan.decoding.push(map);
        self.fold(&out, view, scratch);
        visit(&scratch.scan);
    }
}

type Decoder = fn(&str, &mut String, &mut OffsetMap) -> bool;

/// Each writes what it finds and tells whether there was anything.
const DECODERS: [(View, Decoder); 3] =
    [(View::Unescaped, unescape::unescape), (View::Decoded, encoded::decode), (View::Decoded, codes::decode)];

impl Scan {
    /// The folded text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is of.
    pub fn view(&self) -> View {
        self.view
    }

    /// How many ASCII characters were smuggled in as Unicode tag characters.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// The byte range of the source that `range` of [`Scan::text`] came from.
    pub fn source(&self, range: Range<usize>) -> Range<usize> {
        let [joins, folds] = &self.layers;
        let range = if self.joined { joins.source(range) } else { range };
        self.decoding.iter().rev().fold(folds.source(range), |range, map| map.source(range))
    }
}

impl Scratch {
    fn shrink(&mut self) {
        self.scan.decoding.clear();
        if self.scan.text.capacity() > KEEP || self.spare.capacity() > KEEP {
            *self = Self::default();
        }
    }
}

/// Ciphers the text itself names.
struct Announced {
    rot13: bool,
    reversed: bool,
}

impl Announced {
    fn read(folded: &str) -> Self {
        let names = |words: &[&str]| words.iter().any(|word| memchr::memmem::find(folded.as_bytes(), word.as_bytes()).is_some());
        Self {
            rot13: names(&["rot13", "rot-13", "rot 13", "caesar", "cesar"]),
            reversed: names(&["revers", "backward", "ruckwarts", "al reves", "a l'envers", "al contrario", "desrever"]),
        }
    }
}
