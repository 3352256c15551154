//! The one engine behind whole texts and streams: walks over the text, asks the detectors at every place a value could begin,
//! and moves on only when they have all answered. Whatever lies behind its position is decided for good.

use super::custom::{self, CustomPatterns};
use super::matching::{CONTEXT, Found, HOLD, Hit, Input, Kind, Open, Rule, Tail};
use super::screen::{self, may_begin};
use super::{numbers, phone, secrets, words};

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
    /// The run of e-mail local-part bytes around `pos`: where it begins, how far it is known to reach.
    run: (usize, usize),
    /// Where no credential begins, known before the rest of the word.
    cleared: Option<usize>,
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
            self.decide(end);
            if last {
                self.running = None;
            }
            if last || end > start {
                return Some(Piece { start, end, rule, first: false, last });
            }
            return None;
        }
        loop {
            self.pass(detectors, input);
            if self.pos >= input.bytes.len() {
                return None;
            }
            match self.ask(detectors, input) {
                Ok(Some(hit)) => return Some(self.accept(hit)),
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
        self.run = (self.run.0.saturating_sub(bytes), self.run.1.saturating_sub(bytes));
    }

    /// How many bytes of the buffer nobody will look at again.
    pub fn settled(&self) -> usize {
        self.pos.saturating_sub(CONTEXT + 4)
    }

    fn accept(&mut self, hit: Hit) -> Piece {
        let start = self.pos;
        self.decide(hit.end);
        if hit.rule.kind == Kind::CreditCard {
            self.card = Some(self.forgotten + hit.end as u64);
        }
        self.running = hit.tail.map(|tail| (hit.rule, tail));
        Piece { start, end: hit.end, rule: hit.rule, first: true, last: hit.tail.is_none() }
    }

    fn decide(&mut self, end: usize) {
        self.pos = end;
        self.run = (end, end);
    }

    /// Passes over what no detector has to be asked about, a word at a time.
    fn pass(&mut self, detectors: &Detectors, input: &Input<'_>) {
        if detectors.custom.is_some() {
            return;
        }
        let near = self.near_card();
        let mut last = input.before(self.pos, 1);
        while let Some(&b) = input.bytes.get(self.pos) {
            if screen::local(b) {
                self.extend_run(input);
                if matches!(input.bytes.get(self.run.1), None | Some(b'@')) {
                    return;
                }
            }
            if may_begin(last, b) && !screen::idle(detectors, input, self.pos, near) {
                return;
            }
            self.pos += 1;
            last = b;
            if b.is_ascii_alphanumeric() {
                self.pos = screen::word_end(input.bytes, self.pos);
                last = input.before(self.pos, 1);
            }
        }
    }

    /// Asks every detector that could begin at `pos`. Secrets come first; of the others the longest match counts.
    fn ask(&mut self, detectors: &Detectors, input: &Input<'_>) -> Found {
        let at = self.pos;
        let (last, b) = (input.before(at, 1), input.at(at)?);
        self.extend_run(input);
        let address = self.address(input);
        // The commonest wait, for the end of a word: only a credential could be told sooner.
        if address.is_err() && self.no_secret(input, last, b) {
            return address;
        }
        let begins = may_begin(last, b);
        if !begins && detectors.custom.is_none() || matches!(b, 0x80..=0xBF) {
            return address;
        }
        // No detector sees further than a stream may hold back.
        let cut = input.bytes.get(..at + HOLD);
        let seen = &Input { bytes: cut.unwrap_or(input.bytes), ended: input.ended || cut.is_some() };
        if begins && let Some(secret) = secret(seen, at, last, b)? {
            return Ok(Some(secret));
        }
        let mut longest = Longest { input, best: address? };
        if begins {
            self.structured(detectors, seen, b, &mut longest)?;
        }
        longest.with(custom::find(detectors.custom.as_ref(), seen, at))?;
        Ok(longest.best)
    }

    fn structured(&self, detectors: &Detectors, seen: &Input<'_>, b: u8, longest: &mut Longest<'_>) -> Result<(), Open> {
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
            longest.with(numbers::ssn(seen, at))?;
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
        longest.with(phone::phone(seen, at))
    }

    /// Whether no credential begins at `pos`, looked at once while a word arrives.
    fn no_secret(&mut self, input: &Input<'_>, last: u8, b: u8) -> bool {
        if self.cleared != Some(self.pos)
            && input.bytes.get(self.pos + 1).is_some_and(|&second| !screen::secret(input, self.pos, (last, b, second)))
        {
            self.cleared = Some(self.pos);
        }
        self.cleared == Some(self.pos)
    }

    /// Whether a card ended not far to the left of `pos`.
    fn near_card(&self) -> bool {
        self.card.is_some_and(|card| (self.forgotten + self.pos as u64).saturating_sub(card) <= NEAR_CARD)
    }

    /// Keeps `run` the run of local-part bytes around `pos`, each byte looked at once.
    fn extend_run(&mut self, input: &Input<'_>) {
        let (start, end) = if self.pos > self.run.1 { (self.pos, self.pos) } else { self.run };
        let known = input.bytes.get(end).is_some_and(|&b| !screen::local(b));
        self.run = (start, if known { end } else { words::local_part_end(input.bytes, end) });
    }

    /// The e-mail address at `pos`. While the run lasts, an `@` may follow any of its last bytes.
    fn address(&self, input: &Input<'_>) -> Found {
        let (start, end) = self.run;
        let inside_char = matches!(input.bytes.get(self.pos), Some(0x80..=0xBF));
        if self.pos >= end || self.pos + words::LOCAL_PART < end || inside_char {
            return Ok(None);
        }
        match input.at(end)? {
            b'@' if words::address_start(input.bytes, start, end) == Some(self.pos) => words::email(input, end),
            _ => Ok(None),
        }
    }
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

fn secret(input: &Input<'_>, at: usize, last: u8, b: u8) -> Found {
    let armoured = match b {
        b'-' if last != b'-' => secrets::private_key(input, at)?,
        b'e' => secrets::web_token(input, at)?,
        _ => None,
    };
    if armoured.is_some() {
        return Ok(armoured);
    }
    if let Some(token) = secrets::prefixed(input, at)? {
        return Ok(Some(token));
    }
    if let Some(password) = secrets::url_password(input, at)? {
        return Ok(Some(password));
    }
    secrets::assigned(input, at)
}
