//! The cheap look at a position: whether any detector has to be asked at all. It reads the byte to the left, two or three to the
//! right and, where they make a value likely, what decides the commonest cases; most positions of most texts end here.
//!
//! A screen never decides that something is found, and when a byte it needs has not arrived it lets the detectors speak.

use super::candidates::Detectors;
use super::heard::Heard;
use super::matching::{Input, is_word};
use super::{numbers, phone, secrets, token_formats, validators, words};

const ALNUM: u16 = 1;
const LOCAL: u16 = 2;
const OPENS: u16 = 4;
const LEADS: u16 = 8;
const GRAPHIC: u16 = 16;
const DIGIT: u16 = 32;
const JOINS: u16 = 64;
const TELLS: u16 = 128;
const LETTER: u16 = 256;
const NAMED: u16 = 512;

/// What a byte can be part of.
static CLASSES: [u16; 256] = {
    let mut classes = [0; 256];
    let mut b = 0u8;
    loop {
        let mut class = 0;
        if b.is_ascii_alphanumeric() {
            class |= ALNUM;
        }
        if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-' | 0xC3..=0xC9) {
            class |= LOCAL;
        }
        if matches!(b, b'+' | b'(' | b':' | b'-' | b'_') {
            class |= OPENS;
        }
        if matches!(b, b'"' | b'\'' | b'`' | b'=' | b':' | b' ' | 0x1D) {
            class |= LEADS;
        }
        if b.is_ascii_graphic() {
            class |= GRAPHIC;
        }
        if b.is_ascii_digit() {
            class |= DIGIT;
        }
        // What may stand between the digits of a telephone number, and so between those of any other.
        if matches!(b, b' ' | b'+' | b'(' | b')' | b'-' | b'.' | b'/') {
            class |= JOINS;
        }
        if matches!(b, b'=' | b':' | b'/') {
            class |= TELLS;
        }
        if b.is_ascii_alphabetic() || b >= 0x80 {
            class |= LETTER;
        }
        if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.') {
            class |= NAMED;
        }
        classes[b as usize] = class;
        if b == u8::MAX {
            break;
        }
        b += 1;
    }
    classes
};

#[inline]
fn class(b: u8) -> u16 {
    CLASSES.get(usize::from(b)).copied().unwrap_or(0)
}

#[inline]
pub(super) fn alnum(b: u8) -> bool {
    class(b) & ALNUM != 0
}

/// Whether `b` may stand in the local part of an e-mail address (the first byte of a letter beyond ASCII included).
#[inline]
pub(super) fn local(b: u8) -> bool {
    class(b) & LOCAL != 0
}

/// Whether `b` is a letter, of any alphabet.
#[inline]
pub(super) fn letter(b: u8) -> bool {
    class(b) & LETTER != 0
}

/// Whether `b` may stand in the name of a value.
#[inline]
pub(super) fn named(b: u8) -> bool {
    class(b) & NAMED != 0
}

/// Whether a value may begin with the byte at `at`, which is no letter or digit, or it may end an announcement, see
/// [`Heard::sign`].
#[inline]
pub(super) fn telling(bytes: &[u8], at: usize, b: u8) -> bool {
    class(b) & (OPENS | TELLS) != 0
        && bytes.get(at + 1).is_none_or(|&next| match b {
            b'-' => next == b'-',
            b'_' => token_formats::pair_begins(b, next),
            b'(' | b'+' => class(next) & DIGIT != 0 || matches!(next, b'(' | b'+'),
            _ => true,
        })
}

/// Where the letters and digits that go on from `at` end; those behind `most` hardly matter and may be left out.
#[inline]
pub(super) fn word_end(bytes: &[u8], at: usize, most: usize) -> usize {
    Word::at(bytes, at).end(bytes, at, most)
}

/// The first eight bytes of a word, or of what stands between words. Zeros stand for what has not arrived.
#[derive(Clone, Copy)]
pub(super) struct Word {
    bytes: u64,
    /// The highest bit of each byte that is neither letter nor digit.
    others: u64,
}

impl Word {
    /// Reads at a place in a text.
    #[inline]
    pub fn at(text: &[u8], at: usize) -> Word {
        let bytes = match text.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(&eight) => u64::from_le_bytes(eight),
            None => last_bytes(text, at),
        };
        Word { bytes, others: others(bytes) }
    }

    /// Whether it begins with something else than a letter or a digit.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.others & 0x80 != 0
    }

    #[inline]
    pub fn first(self) -> u8 {
        self.bytes as u8
    }

    /// Whether it may begin a value by its first three bytes: a number, a token, an account. Most words do not, and of one that
    /// has not arrived nothing can be said.
    #[inline]
    pub fn is_striking(self) -> bool {
        let [a, b, c, ..] = self.bytes.to_le_bytes();
        a.is_ascii_digit() || token_formats::may_begin(a, b, c) || c.is_ascii_digit() && a.is_ascii_uppercase() || c == 0
    }

    /// Where the word that begins at `at` ends; what lies behind `most` hardly matters and may be left out.
    #[inline]
    pub fn end(mut self, text: &[u8], mut at: usize, most: usize) -> usize {
        while self.others == 0 && at < most {
            at += 8;
            self = Word::at(text, at);
        }
        (at + self.others.trailing_zeros() as usize / 8).min(text.len())
    }
}

/// The bytes from `at` on where fewer than eight are left.
#[inline(never)]
fn last_bytes(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match text.last_chunk() {
        Some(&eight) if !rest.is_empty() => u64::from_le_bytes(eight) >> (64 - 8 * rest.len()),
        _ => rest.iter().rev().fold(0, |bytes, &b| bytes << 8 | u64::from(b)),
    }
}

/// The highest bit of each of eight bytes that is neither letter nor digit.
#[inline]
fn others(bytes: u64) -> u64 {
    const fn each(b: u8) -> u64 {
        u64::from_ne_bytes([b; 8])
    }
    let low = bytes & each(0x7F);
    let lower = low | each(0x20);
    // Adding carries into the highest bit of a byte when it is at least the first, or more than the last, of a range.
    let letter = (lower + each(0x80 - b'a')) & !(lower + each(0x7F - b'z'));
    let digit = (low + each(0x80 - b'0')) & !(low + each(0x7F - b'9'));
    (!(letter | digit) | bytes) & each(0x80)
}

/// Whether any value of a known kind may begin with `b` behind `last`: never inside a word.
#[inline]
pub(super) fn may_begin(last: u8, b: u8) -> bool {
    let class = class(b);
    if class & ALNUM != 0 {
        return !alnum(last);
    }
    class & OPENS != 0 || class & GRAPHIC != 0 && self::class(last) & LEADS != 0 || b >= 0xC0 && last < 0x80 && !is_word(last)
}

/// A place in a text, what was heard before it, and who is looking.
pub(super) struct Place<'a> {
    pub detectors: &'a Detectors,
    pub input: &'a Input<'a>,
    pub heard: &'a mut Heard,
    pub at: usize,
    /// Whether a card ended not far to the left.
    pub near_card: bool,
}

impl Place<'_> {
    /// Whether, at the beginning of a word, every detector of a known kind is certain to find nothing, e-mail and IPv6 addresses
    /// apart.
    #[inline]
    pub fn idle_word(mut self, b: u8) -> bool {
        let (input, at) = (self.input, self.at);
        let ahead = input.bytes.get(at + 1..).unwrap_or_default();
        let &[second, third, ..] = ahead else { return self.idle_at_the_end(b, ahead) };
        if token_formats::may_begin(b, second, third) && secrets::token(input, at, b) != Ok(None) || self.heard.anything(at) && self.announced(b) {
            return false;
        }
        if class(b) & DIGIT != 0 {
            return self.idle_number();
        }
        !b.is_ascii_uppercase() || !second.is_ascii_uppercase() || !third.is_ascii_digit() || words::iban(input, at) == Ok(None)
    }

    /// With no more than one byte to the right: the last bytes of a piece are mostly spaces.
    fn idle_at_the_end(&self, b: u8, ahead: &[u8]) -> bool {
        let &[second] = ahead else { return false };
        b.is_ascii_alphabetic()
            && !second.is_ascii_alphanumeric()
            && !token_formats::pair_begins(b, second)
            && second != b':'
            && !self.heard.anything(self.at)
    }

    /// The same for the beginning of anything that is no word.
    #[inline]
    pub fn idle_sign(mut self, b: u8) -> bool {
        let (class, last) = (class(b), self.input.before(self.at, 1));
        if class & OPENS == 0 && !self.heard.anything(self.at) || !may_begin(last, b) {
            return true;
        }
        self.idle_opening(last, b)
    }

    fn idle_opening(&mut self, last: u8, b: u8) -> bool {
        let (input, at) = (self.input, self.at);
        let Some(&second) = input.bytes.get(at + 1) else { return false };
        if self.heard.anything(at) && self.announced(b) {
            return false;
        }
        match b {
            b':' => second != b':' || last == b':' || is_word(last),
            b'+' if second.is_ascii_digit() || second == b'(' => phone::digits_ahead(input, at) == Ok(false),
            b'(' if second.is_ascii_digit() || second == b'+' => phone::digits_ahead(input, at) == Ok(false),
            b'-' => second != b'-' || last == b'-' || input.starts_with(at, b"-----BEGIN ") == Ok(false),
            b'_' => !token_formats::pair_begins(b, second),
            _ => true,
        }
    }

    /// Whether what was heard may announce a value that begins here with `b`.
    fn announced(&mut self, b: u8) -> bool {
        let Self { detectors, input, at, near_card, .. } = *self;
        if self.heard.secret(at) && secrets::behind_name(input, at)
            || self.heard.password(at) && input.before(at, 1) == b':' && secrets::behind_user(input, at)
        {
            return true;
        }
        if !self.heard.named(at) {
            return false;
        }
        detectors.pci && (b.is_ascii_uppercase() || b >= 0x80) && words::names_holder(input, at, near_card)
            || detectors.pci && b.is_ascii_digit() && numbers::names_cvv(input, at, near_card)
            || detectors.healthcare && alnum(b)
    }

    /// Whether digits, by how many they are and what follows, are none of the numbers looked for.
    fn idle_number(&mut self) -> bool {
        let Self { detectors, input, at, .. } = *self;
        if !numbers::begins(input, at) {
            return true;
        }
        let ahead = input.bytes.get(at..).unwrap_or_default();
        let count = ahead.iter().take(20).take_while(|&&b| class(b) & DIGIT != 0).count();
        let (Some(&next), Some(&after)) = (ahead.get(count), ahead.get(count + 1)) else { return false };
        if count < 7 && !(class(next) & JOINS != 0 && class(after) & (DIGIT | JOINS) != 0) {
            return true;
        }
        let joined = |signs: &[u8]| signs.contains(&next) && after.is_ascii_digit();
        let card = detectors.pci
            && (count >= 12 || count >= 3 && joined(b" -"))
            && validators::card_may_begin(ahead.get(..count).unwrap_or_default());
        let ssn = count == 9 || count == 3 && joined(b"- .");
        let ipv4 = count <= 3 && joined(b".");
        let topics = &mut self.heard.topics;
        !(card && numbers::card(input, at) != Ok(None))
            && !(ssn && numbers::ssn(input, at, topics) != Ok(None))
            && !(ipv4 && numbers::ipv4(input, at) != Ok(None))
            && phone::phone(input, at, topics) == Ok(None)
    }
}

/// Whether the word `at..end` is the first group of an IPv6 address.
#[inline]
pub(super) fn first_group(bytes: &[u8], at: usize, end: usize) -> bool {
    (1..=4).contains(&(end - at))
        && bytes.get(end) == Some(&b':')
        && bytes.get(at..end).unwrap_or_default().iter().all(u8::is_ascii_hexdigit)
}
