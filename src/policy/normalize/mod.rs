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

mod bytes;
mod characters;
mod codes;
mod encoded;
mod fold;
mod letters;
mod map;
mod spacing;
mod unescape;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod work;

pub use characters::Character;
pub use fold::Folding;
pub use map::{MAX_TEXT, OffsetMap};

use aho_corasick::packed::Searcher;
use std::ops::Range;
use std::sync::LazyLock;

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
    /// What was decoded, by depth.
    depths: [Rewritten; MAX_DEPTH],
}

/// A text made from another one.
#[derive(Debug, Default)]
struct Rewritten {
    text: String,
    /// To the other one.
    map: OffsetMap,
    /// A run of base64 without its line breaks, and what it decodes to.
    run: Vec<u8>,
    decoded: Vec<u8>,
}

impl Normalizer {
    /// `decodes` is whether escapes, base64, hex, character codes, rot13 and reversed text are looked into.
    pub fn new(folding: Folding, decodes: bool) -> Self {
        Self { folding, decodes }
    }

    /// Calls `visit` with the folded text, then with each decoded view.
    pub fn scans(&self, text: &str, scratch: &mut Scratch, mut visit: impl FnMut(&Scan)) {
        let text = &text[..text.floor_char_boundary(MAX_TEXT / MAX_GROWTH)];
        let Scratch { scan, spare, depths } = scratch;
        let mut views =
            Views { folding: self.folding, scan, spare, visit: &mut visit, budget: text.len().saturating_mul(MAX_VIEWS) };
        views.show(text, View::Plain);
        if self.decodes {
            let announced = Announced::read(&views.scan.text);
            views.decode(text, depths);
            if announced.rot13 {
                views.whole(text, View::Rot13, encoded::rot13, depths);
            }
            if announced.reversed {
                views.whole(text, View::Reversed, encoded::reversed, depths);
            }
        }
        scratch.shrink();
    }
}

/// The views of one text, on their way to whoever reads them.
struct Views<'a> {
    folding: Folding,
    scan: &'a mut Scan,
    spare: &'a mut String,
    visit: &'a mut dyn FnMut(&Scan),
    /// Bytes that may still be decoded.
    budget: usize,
}

impl Views<'_> {
    /// Folds `source`, to which `scan.decoding` leads back, and shows it.
    fn show(&mut self, source: &str, view: View) {
        let Self { scan, spare, .. } = self;
        let [joins, folds] = &mut scan.layers;
        scan.text.clear();
        joins.clear();
        folds.clear();
        scan.view = view;
        scan.hidden = fold::fold(source, self.folding, &mut scan.text, folds);
        #[cfg(test)]
        work::count(source.len() + scan.text.len());
        spare.clear();
        scan.joined = spacing::join(&scan.text, spare, joins);
        if scan.joined {
            std::mem::swap(&mut scan.text, spare);
        }
        (self.visit)(self.scan);
    }

    /// Shows the views of `text`, and theirs, down to as many depths as there are.
    fn decode(&mut self, text: &str, depths: &mut [Rewritten]) {
        let Some((depth, deeper)) = depths.split_first_mut() else { return };
        for (view, decoder) in DECODERS {
            #[cfg(test)]
            work::count(text.len() / 4);
            depth.clear();
            if decoder(text, depth) && depth.text.len() <= self.budget {
                self.budget -= depth.text.len();
                self.scan.decoding.push(std::mem::take(&mut depth.map));
                self.show(&depth.text, view);
                self.decode(&depth.text, deeper);
                depth.map = self.scan.decoding.pop().unwrap_or_default();
            }
        }
    }

    /// Shows one rewriting of the whole text.
    fn whole(&mut self, text: &str, view: View, rewrite: fn(&str, &mut Rewritten), depths: &mut [Rewritten]) {
        let Some(depth) = depths.first_mut().filter(|_| text.len() <= self.budget) else { return };
        self.budget -= text.len();
        depth.clear();
        rewrite(text, depth);
        self.scan.decoding.push(std::mem::take(&mut depth.map));
        self.show(&depth.text, view);
        depth.map = self.scan.decoding.pop().unwrap_or_default();
    }
}

type Decoder = fn(&str, &mut Rewritten) -> bool;

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
    /// Gives back what only a long text needed.
    fn shrink(&mut self) {
        let Self { scan, spare, depths } = self;
        let maps: usize = scan.layers.iter().map(OffsetMap::memory).sum();
        let decoded: usize = depths.iter().map(Rewritten::memory).sum();
        if scan.text.capacity() + spare.capacity() + maps + decoded > KEEP {
            *self = Self::default();
        }
    }
}

impl Rewritten {
    fn clear(&mut self) {
        self.text.clear();
        self.map.clear();
    }

    fn memory(&self) -> usize {
        self.text.capacity() + self.map.memory() + self.run.capacity() + self.decoded.capacity()
    }
}

/// Ciphers the text itself names.
struct Announced {
    rot13: bool,
    reversed: bool,
}

impl Announced {
    fn read(folded: &str) -> Self {
        Self { rot13: ROT13.is_match(folded), reversed: REVERSED.is_match(folded) }
    }
}

static ROT13: LazyLock<Names> = LazyLock::new(|| Names::new(&["rot13", "rot-13", "rot 13", "caesar", "cesar"]));
static REVERSED: LazyLock<Names> =
    LazyLock::new(|| Names::new(&["revers", "backward", "ruckwarts", "al reves", "a l'envers", "al contrario", "desrever"]));

/// Finds any of a few words.
struct Names {
    words: &'static [&'static str],
    /// Looks at many bytes at once, where the processor can.
    fast: Option<Searcher>,
}

impl Names {
    fn new(words: &'static [&'static str]) -> Self {
        Self { words, fast: Searcher::new(words) }
    }

    fn is_match(&self, text: &str) -> bool {
        match &self.fast {
            Some(fast) => fast.find(text).is_some(),
            None => self.words.iter().any(|word| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some()),
        }
    }
}
