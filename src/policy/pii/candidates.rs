//! The one engine behind whole texts and streams: walks over the text, asks the detectors at every place a value could begin,
//! and moves on only when they have all answered. Whatever lies behind its position is decided for good.

use super::addresses::Addresses;
use super::bytes::{self, Word};
use super::custom::{self, CustomPatterns};
use super::heard::{self, Heard};
use super::matching::{CONTEXT, Found, HOLD, Hit, Input, Kind, Open, Rule, Tail};
use super::screen::{self, Place, may_begin};
use super::secrets::{self, Values};
use super::{numbers, phone, token_formats, words};

/// How far behind a card number its verification value and its holder's name may stand, in bytes.
const NEAR_CARD: u64 = 256;

/// Which detectors are on.
#[derive(Debug, Default)]
pub(super) struct Detectors {
    pub pci: bool,
    pub healthcare: bool,
    pub custom: Option<CustomPatterns>,
}

/// A matched range, or a part of one that is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub start: usize,
    pub end: usize,
    pub rule: Rule,
    /// The match begins with this piece.
    pub first: bool,
    /// The match ends with this piece.
    pub last: bool,
}

/// How far a text has been decided. Offsets are those of the buffer, see [`Scan::forget`].
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    /// Everything before this is decided.
    pub pos: usize,
    /// Bytes forgotten from the front of the buffer.
    forgotten: u64,
    addresses: Addresses,
    heard: Heard,
    /// Where no credential begins, known before the rest of the word.
    cleared: Option<usize>,
    /// Where a configured pattern may begin, the first place behind what is known to begin none.
    custom: usize,
    /// A long secret that is certain and not over.
    running: Option<(Rule, Tail)>,
    /// Where the last card ended, counted from the beginning of the text.
    card: Option<u64>,
}

impl Scan {
    /// Decides on and returns the next match or part of one. `None` when all is decided that can be: the rest, from `pos`, may be
    /// the beginning of a match, or there is none.
    pub fn next(&mut self, detectors: &Detectors, input: &Input<'_>) -> Option<Piece> {
        if let Some((rule, tail)) = self.running {
            let start = self.pos;
            let (end, last) = tail.extend(input, start);
            self.decide(detectors, input, end);
            if last {
                self.running = None;
            }
            if last || end > start {
                return Some(Piece { start, end, rule, first: false, last });
            }
            return None;
        }
        let limit = self.addresses.limit(input);
        if self.pos == limit && self.cleared == Some(limit) {
            // The same word goes on.
            return None;
        }
        loop {
            self.pass(detectors, input, limit);
            if self.pos >= input.bytes.len() {
                return None;
            }
            let found = if self.pos < limit { self.ask(detectors, input) } else { self.ask_early(input) };
            match found {
                Ok(Some(hit)) => return Some(self.accept(detectors, input, hit)),
                Ok(None) => self.pos += 1,
                Err(Open) => return None,
            }
        }
    }

    /// Tells that the first `bytes` of the buffer are gone. They lie before `pos` by at least [`CONTEXT`].
    pub fn forget(&mut self, bytes: usize) {
        self.forgotten += bytes as u64;
        self.pos = self.pos.saturating_sub(bytes);
        self.cleared = self.cleared.and_then(|at| at.checked_sub(bytes));
        self.custom = self.custom.saturating_sub(bytes);
        self.addresses.forget(bytes);
        self.heard.forget(bytes);
    }

    /// How many bytes of the buffer nobody will look at again.
    pub fn settled(&self) -> usize {
        self.pos.saturating_sub(CONTEXT + 4)
    }

    fn accept(&mut self, detectors: &Detectors, input: &Input<'_>, hit: Hit) -> Piece {
        let start = self.pos;
        if hit.rule.kind == Kind::CreditCard {
            self.card = Some(self.forgotten + hit.end as u64);
        }
        self.decide(detectors, input, hit.end);
        self.running = hit.tail.map(|tail| (hit.rule, tail));
        Piece { start, end: hit.end, rule: hit.rule, first: true, last: hit.tail.is_none() }
    }

    fn decide(&mut self, detectors: &Detectors, input: &Input<'_>, end: usize) {
        let start = std::mem::replace(&mut self.pos, end);
        self.addresses.decide(end);
        let near_card = self.near_card();
        self.heard.matched(detectors, input, start..end, near_card);
    }

    /// Passes over what no detector has to be asked about.
    fn pass(&mut self, detectors: &Detectors, input: &Input<'_>, limit: usize) {
        let mut end = self.addresses.next(input.bytes, self.pos).map_or(limit, |address| address.min(limit));
        if let Some(custom) = &detectors.custom {
            end = end.min(self.next_custom(custom, input, end));
        }
        self.pos = self.walk(detectors, input, end);
    }

    #[inline(never)]
    fn next_custom(&mut self, custom: &CustomPatterns, input: &Input<'_>, end: usize) -> usize {
        self.custom = custom.next(input.bytes, self.custom.max(self.pos), end);
        self.custom
    }

    /// The first place from `pos` to `end` where a value of a known kind may begin, a word at a time.
    fn walk(&mut self, detectors: &Detectors, input: &Input<'_>, end: usize) -> usize {
        let bytes = input.bytes;
        let mut at = self.pos;
        if at < end && bytes::alnum(input.before(at, 1)) {
            at = self.leave_word(detectors, input, end);
        }
        while at < end {
            let word = Word::at(bytes, at);
            let stop = if word.is_empty() {
                at
            } else {
                if (word.is_striking() || self.heard.anything(at)) && !self.place(detectors, input, at).idle_word(word.first()) {
                    break;
                }
                let stop = word.end(bytes, at, end + GROUP);
                if stop < end && heard::may_tell(word.first(), input.before(stop, 1), stop - at) {
                    let near_card = self.near_card();
                    self.heard.word(detectors, input, at..stop, near_card);
                }
                stop
            };
            // The byte behind the word, or one between words.
            let Some(&b) = bytes.get(stop) else { return end };
            if screen::telling(bytes, stop, b) || self.heard.anything(stop) {
                if b == b':' && screen::first_group(bytes, at, stop) && words::ipv6(input, at) != Ok(None) {
                    break;
                }
                if stop >= end {
                    return end;
                }
                if !self.pass_sign(detectors, input, stop, b) {
                    return stop;
                }
            }
            at = stop + usize::from(!bytes::alnum(b));
        }
        at.min(end)
    }

    /// Passes over the rest of the word `pos` is in or just behind.
    #[inline(never)]
    fn leave_word(&mut self, detectors: &Detectors, input: &Input<'_>, end: usize) -> usize {
        let (start, stop) = (word_start(input.bytes, self.pos), bytes::word_end(input.bytes, self.pos, end + GROUP));
        let (first, last) = (input.before(start + 1, 1), input.before(stop, 1));
        if stop < end && heard::may_tell(first, last, stop - start) {
            let near_card = self.near_card();
            self.heard.word(detectors, input, start..stop, near_card);
        }
        stop
    }

    /// Passes over a byte that is no letter or digit, unless a value may begin with it.
    #[inline(never)]
    fn pass_sign(&mut self, detectors: &Detectors, input: &Input<'_>, at: usize, b: u8) -> bool {
        self.heard.sign(input, at);
        self.place(detectors, input, at).idle_sign(b)
    }

    fn place<'a>(&'a mut self, detectors: &'a Detectors, input: &'a Input<'a>, at: usize) -> Place<'a> {
        let near_card = self.near_card();
        Place { detectors, input, heard: &mut self.heard, at, near_card }
    }

    /// Asks what may begin at `pos`, all or only whether an address does. Secrets come first; of the others the longest match counts.
    #[inline(never)]
    fn ask(&mut self, detectors: &Detectors, input: &Input<'_>) -> Found {
        let at = self.pos;
        let (last, b) = (input.before(at, 1), input.at(at)?);
        let address = self.addresses.at(input, at);
        let begins = may_begin(last, b);
        if self.addresses.begins(at) && detectors.custom.is_none() && self.place(detectors, input, at).idle() {
            return address;
        }
        if !begins && detectors.custom.is_none() || matches!(b, 0x80..=0xBF) {
            return address;
        }
        // No detector sees further than a stream may hold back.
        let cut = input.bytes.get(..at + HOLD);
        let seen = &Input { bytes: cut.unwrap_or(input.bytes), ended: input.ended || cut.is_some() };
        if begins && let Some(secret) = secret(seen, at, (last, b), &mut self.heard.values)? {
            return Ok(Some(secret));
        }
        let mut longest = Longest { input, best: address? };
        if begins {
            self.structured(detectors, seen, b, &mut longest)?;
        }
        longest.with(custom::find(detectors.custom.as_ref(), seen, at))?;
        Ok(longest.best)
    }

    /// Asks about the beginning of the last word, which is still arriving and may become an e-mail address: only a credential can
    /// be told sooner, by its first bytes.
    #[inline(never)]
    fn ask_early(&mut self, input: &Input<'_>) -> Found {
        let at = self.pos;
        let &[a, b, c] = input.slice(at, at + 3) else { return Err(Open) };
        if self.cleared == Some(at) {
            return Err(Open);
        }
        if may_begin(input.before(at, 1), a)
            && token_formats::may_begin(a, b, c)
            && let Some(token) = secrets::token(input, at, a)?
        {
            return Ok(Some(token));
        }
        self.cleared = Some(at);
        Err(Open)
    }

    fn structured(&mut self, detectors: &Detectors, seen: &Input<'_>, b: u8, longest: &mut Longest<'_>) -> Result<(), Open> {
        let at = self.pos;
        let near = self.near_card();
        if b.is_ascii_uppercase() {
            longest.with(words::iban(seen, at))?;
        }
        if b.is_ascii_digit() {
            if detectors.pci {
                longest.with(numbers::card(seen, at))?;
                longest.with(numbers::cvv(seen, at, near))?;
            }
            longest.with(numbers::ipv4(seen, at))?;
            longest.with(numbers::ssn(seen, at, &mut self.heard.topics))?;
        }
        if b.is_ascii_hexdigit() || b == b':' {
            longest.with(words::ipv6(seen, at))?;
        }
        if detectors.healthcare && b.is_ascii_alphanumeric() {
            longest.with(numbers::npi(seen, at))?;
            longest.with(numbers::health_id(seen, at))?;
        }
        if detectors.pci && (b.is_ascii_uppercase() || b >= 0x80) {
            longest.with(words::cardholder(seen, at, near))?;
        }
        longest.with(phone::phone(seen, at, &mut self.heard.topics))
    }

    /// Whether a card ended not far to the left of `pos`.
    fn near_card(&self) -> bool {
        self.card.is_some_and(|card| (self.forgotten + self.pos as u64).saturating_sub(card) <= NEAR_CARD)
    }
}

/// How long a word may be and still tell anything.
const WORD: usize = 16;
/// How long the first group of an IPv6 address may be.
const GROUP: usize = 5;

/// Where the word around `at` begins, unless it is a long one.
fn word_start(bytes: &[u8], at: usize) -> usize {
    let left = bytes.get(at.saturating_sub(WORD)..at).unwrap_or_default();
    at - left.iter().rev().take_while(|&&b| bytes::alnum(b)).count()
}

/// The longest match so far; of equal ones the first.
struct Longest<'a> {
    input: &'a Input<'a>,
    best: Option<Hit>,
}

impl Longest<'_> {
    fn with(&mut self, found: Found) -> Result<(), Open> {
        let whole = |hit: &Hit| !matches!(self.input.bytes.get(hit.end), Some(0x80..=0xBF));
        if let Some(hit) = found?.filter(whole)
            && self.best.is_none_or(|best| hit.end > best.end)
        {
            self.best = Some(hit);
        }
        Ok(())
    }
}

fn secret(input: &Input<'_>, at: usize, (last, b): (u8, u8), values: &mut Values) -> Found {
    if b == b'-'
        && last != b'-'
        && let Some(key) = secrets::private_key(input, at)?
    {
        return Ok(Some(key));
    }
    if let Some(token) = secrets::token(input, at, b)? {
        return Ok(Some(token));
    }
    if let Some(password) = secrets::url_password(input, at)? {
        return Ok(Some(password));
    }
    secrets::assigned(input, at, values)
}
