//! The words every detector shares: what text it sees, what it may answer, and the kinds of value there are.
//!
//! A detector is asked about one start position. It answers "nothing here", "a match up to here", or [`Open`]: the text so far
//! could still become a match. An answer never changes when more text arrives, which is why redacting a stream and redacting
//! the whole text give the same bytes, however the stream is cut.

/// The text is not over and what has arrived does not decide the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open;

/// What a detector says of one start position.
pub(super) type Found = Result<Option<Hit>, Open>;

/// A match that begins at the position asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// Offset just behind the part that is certain.
    pub end: usize,
    pub rule: Rule,
    /// The value may go on behind `end`, for as long as this says.
    pub tail: Option<Tail>,
}

impl Hit {
    pub fn whole(kind: Kind, id: &'static str, end: usize) -> Hit {
        Hit { end, rule: Rule { kind, id: RuleId::Named(id) }, tail: None }
    }

    pub fn running(id: &'static str, end: usize, tail: Tail) -> Hit {
        Hit { end, rule: Rule { kind: Kind::Secret, id: RuleId::Named(id) }, tail: Some(tail) }
    }
}

/// A detector and the kind it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub kind: Kind,
    pub id: RuleId,
}

/// The stable id of a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleId {
    Named(&'static str),
    /// Index into the configured patterns.
    Custom(usize),
}

/// How a long secret goes on behind its certain beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    Bytes(Set),
    /// The lines of a PEM block up to its END line.
    Pem,
}

/// A set of bytes a secret is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    Alnum,
    Hex,
    /// Letters, digits, `_` and `-`.
    Word,
    /// [`Set::Word`], and `.` and `=` between such bytes.
    Dotted,
    /// Base64 in either alphabet.
    Base64,
    /// What a password or token may be written in without quotes around it.
    Value,
}

impl Set {
    #[inline]
    pub fn has(self, b: u8) -> bool {
        /// By byte, the sets it belongs to, a bit each.
        static SETS: [u8; 256] = {
            let mut sets = [0; 256];
            let mut b = 0u8;
            while b < 128 {
                let word = b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
                let quoting = matches!(
                    b,
                    b'"' | b'\'' | b'`' | b',' | b';' | b'(' | b')' | b'<' | b'>' | b'{' | b'}' | b'[' | b']' | b'\\'
                );
                sets[b as usize] = (b.is_ascii_alphanumeric() as u8) << Set::Alnum as u8
                    | (b.is_ascii_hexdigit() as u8) << Set::Hex as u8
                    | (word as u8) << Set::Word as u8
                    | (word as u8) << Set::Dotted as u8
                    | ((word || matches!(b, b'+' | b'/' | b'=')) as u8) << Set::Base64 as u8
                    | ((b.is_ascii_graphic() && !quoting) as u8) << Set::Value as u8;
                b += 1;
            }
            sets
        };
        SETS.get(usize::from(b)).is_some_and(|sets| sets >> self as u8 & 1 == 1)
    }

    /// Bytes that belong only when one of the set follows: a full stop ends a sentence more often than it is part of a token.
    pub fn joins(self, b: u8) -> bool {
        matches!(self, Set::Dotted) && matches!(b, b'.' | b'=')
    }
}

/// The kinds of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Email,
    Phone,
    Ssn,
    CreditCard,
    Cvv,
    CardholderName,
    IpAddress,
    Iban,
    Mrn,
    InsuranceId,
    Npi,
    Secret,
    Custom,
}

impl Kind {
    pub const ALL: [Kind; 13] = [
        Kind::Email,
        Kind::Phone,
        Kind::Ssn,
        Kind::CreditCard,
        Kind::Cvv,
        Kind::CardholderName,
        Kind::IpAddress,
        Kind::Iban,
        Kind::Mrn,
        Kind::InsuranceId,
        Kind::Npi,
        Kind::Secret,
        Kind::Custom,
    ];

    /// The name in findings and in `custom_markers`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Email => "email",
            Kind::Phone => "phone",
            Kind::Ssn => "ssn",
            Kind::CreditCard => "credit_card",
            Kind::Cvv => "cvv",
            Kind::CardholderName => "cardholder_name",
            Kind::IpAddress => "ip_address",
            Kind::Iban => "iban",
            Kind::Mrn => "mrn",
            Kind::InsuranceId => "insurance_id",
            Kind::Npi => "npi",
            Kind::Secret => "secret",
            Kind::Custom => "custom",
        }
    }

    /// The label that takes the value's place.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Email => "[EMAIL_REDACTED]",
            Kind::Phone => "[PHONE_REDACTED]",
            Kind::Ssn => "[SSN_REDACTED]",
            Kind::CreditCard => "[CREDIT_CARD_REDACTED]",
            Kind::Cvv => "[CVV_REDACTED]",
            Kind::CardholderName => "[CARDHOLDER_NAME_REDACTED]",
            Kind::IpAddress => "[IP_ADDRESS_REDACTED]",
            Kind::Iban => "[IBAN_REDACTED]",
            Kind::Mrn => "[MRN_REDACTED]",
            Kind::InsuranceId => "[INSURANCE_ID_REDACTED]",
            Kind::Npi => "[NPI_REDACTED]",
            Kind::Secret => "[SECRET_REDACTED]",
            Kind::Custom => "[CUSTOM_REDACTED]",
        }
    }
}

/// The text a detector sees: what is already decided to its left, what has arrived to its right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    pub bytes: &'a [u8],
    /// Nothing follows: the end is a boundary like any other.
    pub ended: bool,
}

impl<'a> Input<'a> {
    /// The byte at `i`; 0, which belongs to no value, behind the end of the text.
    #[inline]
    pub fn at(&self, i: usize) -> Result<u8, Open> {
        #[cfg(test)]
        work::count(1);
        match self.bytes.get(i) {
            Some(&b) => Ok(b),
            None if self.ended => Ok(0),
            None => Err(Open),
        }
    }

    /// The byte `n` places to the left of `i`; 0 before the beginning.
    #[inline]
    pub fn before(&self, i: usize, n: usize) -> u8 {
        i.checked_sub(n).and_then(|i| self.bytes.get(i)).copied().unwrap_or(0)
    }

    /// At most `n` bytes to the left of `i`. Detectors look no further than [`CONTEXT`].
    pub fn left(&self, i: usize, n: usize) -> &'a [u8] {
        #[cfg(test)]
        work::count(n.min(CONTEXT) as u64);
        self.bytes.get(i.saturating_sub(n.min(CONTEXT))..i).unwrap_or_default()
    }

    /// What has been seen between two offsets.
    pub fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// Whether the text goes on with `word` at `i`.
    pub fn starts_with(&self, i: usize, word: &[u8]) -> Result<bool, Open> {
        let ahead = self.slice(i, self.bytes.len().min(i + word.len()));
        #[cfg(test)]
        work::count(ahead.len() as u64);
        match word.starts_with(ahead) {
            true if ahead.len() < word.len() && !self.ended => Err(Open),
            same => Ok(same && ahead.len() == word.len()),
        }
    }

    /// Walks over bytes of `set` from `i`, at most to `limit`.
    pub fn run(&self, mut i: usize, limit: usize, set: impl Fn(u8) -> bool) -> Result<usize, Open> {
        while i < limit && set(self.at(i)?) {
            i += 1;
        }
        Ok(i)
    }
}

/// How many bytes to the left of a position a detector may look at; a stream keeps this much of what it already released.
pub(super) const CONTEXT: usize = 128;

/// How many bytes a stream holds back at most. A value that needs more than this to be recognised is not recognised: detectors
/// see the text as if it ended this far behind the position they are asked about, in whole texts as in streams.
pub(super) const HOLD: usize = 512;

/// Part of a word: values never begin or end inside one.
pub(super) fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// Counts the bytes detectors look at, so that a test can tell linear work from worse without a clock.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    thread_local!(static DONE: Cell<u64> = const { Cell::new(0) });

    pub fn count(bytes: u64) {
        DONE.set(DONE.get() + bytes);
    }

    pub fn done() -> u64 {
        DONE.get()
    }
}
