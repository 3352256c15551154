//! What the text has announced so far: a name that promises a secret, a URL that may hold a password, words behind which a number
//! or a person's name is personal data. Each word and sign is looked at once, when it is passed; afterwards a position need only
//! be compared with how far an announcement reaches. An announcement says "look closer here", never more.

use super::bytes;
use super::candidates::Detectors;
use super::context::Topics;
use super::matching::Input;
use super::secrets::{self, Values};
use super::{numbers, words};
use std::ops::Range;

/// How far behind `://` a password may begin, in bytes.
const URL: usize = 100;
/// How far behind the words that announce a number or a name it may begin, in bytes.
const NAMED: usize = 64;

/// How far the announcements reach. Offsets are those of the buffer.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// A value assigned to a telling name.
    secret: usize,
    /// A password in a URL.
    password: usize,
    /// A card's verification value or its holder's name, a number of the health system.
    named: usize,
    /// The furthest of them.
    any: usize,
    /// What numbers are about.
    pub topics: Topics,
    /// What was read as an assigned value.
    pub values: Values,
}

impl Heard {
    /// Whether anything was announced for `at`.
    #[inline]
    pub fn anything(&self, at: usize) -> bool {
        at <= self.any
    }

    pub fn secret(&self, at: usize) -> bool {
        at <= self.secret
    }

    pub fn password(&self, at: usize) -> bool {
        at <= self.password
    }

    pub fn named(&self, at: usize) -> bool {
        at <= self.named
    }

    /// A word that may tell something is passed, see [`may_tell`].
    #[inline(never)]
    pub fn word(&mut self, detectors: &Detectors, input: &Input<'_>, word: Range<usize>, near_card: bool) {
        let end = word.end;
        let text = input.slice(word.start, end);
        let Some((_, topic)) = TELLING.iter().find(|(word, _)| word.len() == text.len() && text.eq_ignore_ascii_case(word))
        else {
            return;
        };
        let named = match topic {
            Telling::Secret => {
                self.secret = self.secret.max(secrets::announced_in_words(input, end).unwrap_or(0));
                false
            }
            Telling::Card => {
                detectors.pci && (numbers::names_cvv(input, end, near_card) || words::names_holder(input, end, near_card))
            }
            Telling::Health => detectors.healthcare && numbers::names_health(input, end),
        };
        if named {
            self.named = end + NAMED;
        }
        self.reach();
    }

    /// The `=`, `:` or `/` at `at` is passed.
    pub fn sign(&mut self, input: &Input<'_>, at: usize) {
        match input.bytes.get(at) {
            Some(b'/') if input.before(at, 1) == b'/' && input.before(at, 2) == b':' => self.password = at + URL,
            // Of several signs the last one speaks.
            Some(b'=' | b':') if matches!(input.bytes.get(at + 1), Some(b'=' | b':')) => return,
            Some(b'=' | b':') => self.secret = self.secret.max(secrets::announced(input, at).unwrap_or(0)),
            _ => return,
        }
        self.reach();
    }

    /// A match is passed: its last bytes may announce what follows.
    pub fn matched(&mut self, detectors: &Detectors, input: &Input<'_>, range: Range<usize>, near_card: bool) {
        let mut at = range.start.max(range.end.saturating_sub(URL));
        while at < range.end {
            let stop = bytes::word_end(input.bytes, at, range.end).min(range.end);
            if may_tell(input.before(at + 1, 1), input.before(stop, 1), stop - at) {
                self.word(detectors, input, at..stop, near_card);
            }
            self.sign(input, stop.min(range.end - 1));
            at = stop + 1;
        }
    }

    /// The first `bytes` of the buffer are gone.
    pub fn forget(&mut self, bytes: usize) {
        for offset in [&mut self.secret, &mut self.password, &mut self.named, &mut self.any] {
            *offset = offset.saturating_sub(bytes);
        }
        self.topics.forget(bytes);
        self.values.forget(bytes);
    }

    fn reach(&mut self) {
        self.any = self.secret.max(self.password).max(self.named);
    }
}

/// What a word may be the end of an announcement of.
enum Telling {
    Secret,
    Card,
    Health,
}

/// The last words of what announces something, the shortest first.
#[rustfmt::skip]
const TELLING: &[(&[u8], Telling)] = &[
    (b"is", Telling::Secret), (b"id", Telling::Health),
    (b"cvv", Telling::Card), (b"cvc", Telling::Card), (b"cid", Telling::Card), (b"csc", Telling::Card),
    (b"npi", Telling::Health), (b"mrn", Telling::Health), (b"rec", Telling::Health),
    (b"card", Telling::Card), (b"name", Telling::Card), (b"cvv2", Telling::Card), (b"cvc2", Telling::Card),
    (b"plan", Telling::Health), (b"bearer", Telling::Secret), (b"holder", Telling::Card),
    (b"record", Telling::Health), (b"member", Telling::Health), (b"policy", Telling::Health),
    (b"security", Telling::Card), (b"provider", Telling::Health), (b"medicare", Telling::Health), (b"medicaid", Telling::Health),
    (b"insurance", Telling::Health), (b"cardholder", Telling::Card), (b"identifier", Telling::Health),
    (b"subscriber", Telling::Health), (b"verification", Telling::Card),
];

/// Whether a word, by its first letter, its last one and its length, may be one of them.
#[inline]
pub(super) fn may_tell(first: u8, last: u8, length: usize) -> bool {
    /// By length, the first letters and the last ones.
    static LETTERS: [(u32, u32); 16] = {
        let mut letters = [(0, 0); 16];
        let mut n = 0;
        while n < TELLING.len() {
            let word = TELLING[n].0;
            letters[word.len()].0 |= 1u32 << (word[0] & 31);
            letters[word.len()].1 |= 1u32 << (word[word.len() - 1] & 31);
            n += 1;
        }
        letters
    };
    LETTERS.get(length).is_some_and(|(firsts, lasts)| firsts >> (first & 31) & lasts >> (last & 31) & 1 == 1)
}
