//! Bytes by what they can be part of, and eight of them at a time: what makes walking over a text cheap.

#[cfg(test)]
use super::matching::work;
use super::token_formats;

/// A letter or a digit, in ASCII.
pub(super) const ALNUM: u16 = 1;
/// See [`local`].
pub(super) const LOCAL: u16 = 2;
/// May begin a value, without being letter or digit.
pub(super) const OPENS: u16 = 4;
/// May stand right before an assigned value.
pub(super) const LEADS: u16 = 8;
/// Visible, in ASCII.
pub(super) const GRAPHIC: u16 = 16;
/// A decimal digit.
pub(super) const DIGIT: u16 = 32;
/// See [`joins`].
pub(super) const JOINS: u16 = 64;
/// May end the announcement of a value.
pub(super) const TELLS: u16 = 128;
/// See [`letter`].
pub(super) const LETTER: u16 = 256;
/// See [`named`].
pub(super) const NAMED: u16 = 512;
/// See [`joint`].
pub(super) const JOINT: u16 = 1024;

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
        if matches!(b, b'"' | b'\'' | b'`' | b'=' | b':' | b' ' | b'\t' | b'>' | b'\\' | 0x1D) {
            class |= JOINT;
        }
        classes[b as usize] = class;
        if b == u8::MAX {
            break;
        }
        b += 1;
    }
    classes
};

/// What `b` can be part of.
#[inline]
pub(super) fn class(b: u8) -> u16 {
    CLASSES.get(usize::from(b)).copied().unwrap_or(0)
}

#[inline]
pub(super) fn alnum(b: u8) -> bool {
    class(b) & ALNUM != 0
}

/// Whether `b` may stand in the local part of an e-mail address: the ASCII bytes in use, and the first byte of Latin letters beyond
/// ASCII. Other scripts are left out: those written without spaces would glue a sentence to the address.
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

/// Whether `b` may stand between a name and its value.
#[inline]
pub(super) fn joint(b: u8) -> bool {
    class(b) & JOINT != 0
}

/// Whether `b` may stand in a telephone number beside its digits.
#[inline]
pub(super) fn joins(b: u8) -> bool {
    class(b) & JOINS != 0
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
        let bytes = eight(text, at);
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

/// Where `wanted`, which is no zero, stands next.
#[inline]
pub(super) fn find(text: &[u8], wanted: u8, from: usize) -> Option<usize> {
    let ahead = text.get(from..).filter(|ahead| !ahead.is_empty())?;
    if ahead.len() > 8 {
        let found = memchr::memchr(wanted, ahead);
        #[cfg(test)]
        work::count(found.unwrap_or(ahead.len()) as u64);
        return found.map(|n| from + n);
    }
    // A piece of a stream: the lowest byte that becomes zero is found by its borrow.
    let differing = eight(text, from) ^ each(wanted);
    let zeros = differing.wrapping_sub(each(1)) & !differing & each(0x80);
    (zeros != 0).then(|| from + zeros.trailing_zeros() as usize / 8)
}

/// Eight bytes from `at` on, with zeros for those that have not arrived.
#[inline]
fn eight(text: &[u8], at: usize) -> u64 {
    #[cfg(test)]
    work::count(8);
    match text.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(&eight) => u64::from_le_bytes(eight),
        None => last_bytes(text, at),
    }
}

const fn each(b: u8) -> u64 {
    u64::from_ne_bytes([b; 8])
}

/// The bytes from `at` on where fewer than eight are left.
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
    let low = bytes & each(0x7F);
    let lower = low | each(0x20);
    // Adding carries into the highest bit of a byte when it is at least the first, or more than the last, of a range.
    let letter = (lower + each(0x80 - b'a')) & !(lower + each(0x7F - b'z'));
    let digit = (low + each(0x80 - b'0')) & !(low + each(0x7F - b'9'));
    (!(letter | digit) | bytes) & each(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_bytes_at_a_time_say_what_one_by_one_say(
            text in prop::collection::vec(prop_oneof![4 => prop::sample::select(b"aZ09_@[`{/: ".to_vec()), 1 => any::<u8>()], 0..40),
            at in 0usize..40,
        ) {
            let at = at.min(text.len());
            let letters = text[at..].iter().take_while(|b| b.is_ascii_alphanumeric()).count();
            prop_assert_eq!(word_end(&text, at, text.len()), at + letters);
            prop_assert_eq!(Word::at(&text, at).is_empty(), letters == 0);
            prop_assert_eq!(find(&text, b'@', at), text[at..].iter().position(|&b| b == b'@').map(|n| at + n));
        }
    }
}
