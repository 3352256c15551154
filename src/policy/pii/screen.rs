//! The cheap look at a position: whether any detector has to be asked at all. It reads the byte to the left, two or three to the
//! right and, where they make a value likely, what decides the commonest cases; most positions of most texts end here.
//!
//! A screen never decides that something is found, and when a byte it needs has not arrived it lets the detectors speak.

use super::candidates::Detectors;
use super::matching::{Input, is_word};
use super::{numbers, phone, secrets, token_formats, validators, words};

const ALNUM: u8 = 1;
const LOCAL: u8 = 2;
const OPENS: u8 = 4;
const LEADS: u8 = 8;
const GRAPHIC: u8 = 16;

/// What a byte can be part of.
const CLASSES: [u8; 256] = {
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
        classes[b as usize] = class;
        if b == u8::MAX {
            break;
        }
        b += 1;
    }
    classes
};

#[inline]
fn class(b: u8) -> u8 {
    CLASSES.get(usize::from(b)).copied().unwrap_or(0)
}

#[inline]
fn alnum(b: u8) -> bool {
    class(b) & ALNUM != 0
}

/// Whether `b` may stand in the local part of an e-mail address (the first byte of a letter beyond ASCII included).
#[inline]
pub(super) fn local(b: u8) -> bool {
    class(b) & LOCAL != 0
}

/// Where the letters and digits that go on from `at` end.
pub(super) fn word_end(bytes: &[u8], at: usize) -> usize {
    at + bytes.get(at..).unwrap_or_default().iter().take_while(|&&b| alnum(b)).count()
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

/// Whether every detector of a known kind, e-mail addresses apart, is certain to find nothing at `at`.
pub(super) fn idle(detectors: &Detectors, input: &Input<'_>, at: usize, near_card: bool) -> bool {
    let (last, b) = (input.before(at, 1), input.bytes.get(at).copied().unwrap_or(0));
    let (Some(&second), Some(&third)) = (input.bytes.get(at + 1), input.bytes.get(at + 2)) else { return false };
    if detectors.healthcare && alnum(b) || secret(input, at, (last, b, second)) {
        return false;
    }
    match b {
        b'0'..=b'9' => !address_of_six(input, at) && (!numbers::begins(input, at) || digits(detectors, input, at, near_card)),
        b'A'..=b'Z' => {
            let account = second.is_ascii_uppercase() && third.is_ascii_digit();
            let holder = detectors.pci && words::names_holder(input, at, near_card);
            !account && !holder && !address_of_six(input, at)
        }
        b'a'..=b'f' => !address_of_six(input, at),
        b':' => second != b':' || last == b':' || is_word(last),
        b'+' => !second.is_ascii_digit() && second != b'(',
        b'(' => !second.is_ascii_digit() && second != b'+',
        0x80.. => !(detectors.pci && words::names_holder(input, at, near_card)),
        _ => true,
    }
}

/// Whether a credential may begin: an armour, a known prefix, a password of a URL, a value behind a telling name.
pub(super) fn secret(input: &Input<'_>, at: usize, (last, b, second): (u8, u8, u8)) -> bool {
    b == b'-' && second == b'-'
        || b == b'e' && second == b'y'
        || token_formats::may_begin(b, second)
        || last == b':' && secrets::behind_user(input, at)
        || secrets::behind_name(input, at)
}

/// Whether a colon comes early enough for an IPv6 address.
fn address_of_six(input: &Input<'_>, at: usize) -> bool {
    let ahead = input.bytes.get(at..).unwrap_or_default();
    let letters = ahead.iter().take(5).take_while(|b| b.is_ascii_hexdigit()).count();
    matches!(ahead.get(letters), None | Some(b':'))
}

/// Whether digits, by how many they are and what follows, are none of the numbers looked for.
fn digits(detectors: &Detectors, input: &Input<'_>, at: usize, near_card: bool) -> bool {
    let ahead = input.bytes.get(at..).unwrap_or_default();
    let count = ahead.iter().take(20).take_while(|b| b.is_ascii_digit()).count();
    let (Some(&next), Some(&after)) = (ahead.get(count), ahead.get(count + 1)) else { return false };
    let joined = |signs: &[u8]| signs.contains(&next) && after.is_ascii_digit();
    let card = detectors.pci
        && (count >= 12 || count >= 3 && joined(b" -"))
        && validators::card_may_begin(ahead.get(..count).unwrap_or_default());
    let cvv = detectors.pci && (3..=4).contains(&count) && numbers::names_cvv(input, at, near_card);
    let ssn = count == 9 || count == 3 && joined(b"- .");
    let ipv4 = count <= 3 && joined(b".");
    !(card || cvv || ssn || ipv4) && matches!(phone::phone(input, at), Ok(None))
}
