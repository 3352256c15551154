//! The cheap look at a position: whether any detector has to be asked at all. It reads the byte to the left, two or three to the
//! right and, where they make a value likely, what decides the commonest cases; most positions of most texts end here.
//!
//! A screen never decides that something is found, and when a byte it needs has not arrived it lets the detectors speak.

use super::bytes::{self, ALNUM, DIGIT, GRAPHIC, JOINS, LEADS, OPENS, TELLS, alnum, class};
use super::candidates::Detectors;
use super::heard::Heard;
use super::matching::{Input, is_word};
use super::{numbers, phone, secrets, token_formats, validators, words};

/// Whether a value may begin with the byte at `at`, which is no letter or digit, or it may end an announcement, see
/// [`Heard::sign`].
#[inline]
pub(super) fn telling(bytes: &[u8], at: usize, b: u8) -> bool {
    class(b) & (OPENS | TELLS) != 0
        && bytes.get(at + 1).is_none_or(|&next| match b {
            b'-' => next == b'-',
            b'_' => token_formats::pair_begins(b, next),
            b'/' => at.checked_sub(1).and_then(|i| bytes.get(i)) == Some(&b'/'),
            b'(' | b'+' => class(next) & DIGIT != 0 || matches!(next, b'(' | b'+'),
            _ => true,
        })
}

/// Whether any value of a known kind may begin with `b` behind `last`: never inside a word.
#[inline]
pub(super) fn may_begin(last: u8, b: u8) -> bool {
    let class = class(b);
    if class & ALNUM != 0 {
        return !alnum(last);
    }
    class & OPENS != 0 || class & GRAPHIC != 0 && bytes::class(last) & LEADS != 0 || b >= 0xC0 && last < 0x80 && !is_word(last)
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
    /// Whether no value of a known kind, e-mail addresses apart, begins here.
    pub fn idle(self) -> bool {
        match self.input.bytes.get(self.at) {
            Some(&b) if alnum(b) => alnum(self.input.before(self.at, 1)) || self.idle_word(b),
            Some(&b) => self.idle_sign(b),
            None => false,
        }
    }

    /// Whether, at the beginning of a word, every detector of a known kind is certain to find nothing, e-mail and IPv6 addresses
    /// apart.
    #[inline]
    pub fn idle_word(mut self, b: u8) -> bool {
        let (input, at) = (self.input, self.at);
        let ahead = input.bytes.get(at + 1..).unwrap_or_default();
        let &[second, third, ..] = ahead else { return self.idle_at_the_end(b, ahead) };
        if token_formats::may_begin(b, second, third) && secrets::token(input, at, b) != Ok(None)
            || self.heard.anything(at) && self.announced(b)
        {
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
            b'+' if second.is_ascii_digit() || second == b'(' => phone::phone(input, at, &mut self.heard.topics) == Ok(None),
            b'(' if second.is_ascii_digit() || second == b'+' => phone::phone(input, at, &mut self.heard.topics) == Ok(None),
            b'-' => second != b'-' || last == b'-' || input.starts_with(at, b"-----BEGIN ") == Ok(false),
            b'_' => !token_formats::pair_begins(b, second),
            _ => true,
        }
    }

    /// Whether what was heard may announce a value that begins here with `b`.
    fn announced(&mut self, b: u8) -> bool {
        let Self { detectors, input, at, near_card, .. } = *self;
        if self.heard.secret(at) && secrets::assigned(input, at, &mut self.heard.values) != Ok(None)
            || self.heard.password(at) && secrets::url_password(input, at) != Ok(None)
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
        (!card || numbers::card(input, at) == Ok(None))
            && (!ssn || numbers::ssn(input, at, topics) == Ok(None))
            && (!ipv4 || numbers::ipv4(input, at) == Ok(None))
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
