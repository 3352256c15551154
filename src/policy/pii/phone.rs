//! Telephone numbers: international ones, those in North American shape, and any plausible one where the text speaks of phones.

use super::bytes;
use super::context::{Topic, Topics};
use super::matching::{Found, Hit, Input, Kind, Open, is_word};
use super::numbers::{Digits, begins};

/// Bytes a number may take, its extension apart.
const LONGEST: usize = 32;

pub(super) fn phone(input: &Input<'_>, at: usize, topics: &mut Topics) -> Found {
    let first = input.at(at)?;
    let opening = matches!(first, b'+' | b'(');
    if !(first.is_ascii_digit() || opening) || !begins(input, at) || input.before(at, 1) == b'+' || input.before(at, 1) == b'#' {
        return Ok(None);
    }
    if first == b'(' && !input.at(at + 1)?.is_ascii_digit() && input.at(at + 1)? != b'+' {
        return Ok(None);
    }
    if digits_ahead(input, at) == Ok(false) {
        return Ok(None);
    }
    let topic = topics.at(input, at);
    // The common case, a number in prose, is settled by its first group. Behind another group it is the middle of an account number.
    let middle = input.before(at, 1) == b' ' && matches!(input.before(at, 2), b'0'..=b'9' | b'A'..=b'Z');
    if !opening && (middle || !shape_may_begin(input, at)?) && topic != Some(Topic::Phone) {
        return Ok(None);
    }
    let mut number = Number::default();
    let mut best: Option<usize> = None;
    let mut i = at;
    while let Some(end) = number.group(input, i)? {
        i = end;
        if number.digits.len > 15 || i - at > LONGEST {
            break;
        }
        let end = number.closed(input, i)?;
        if boundary(input, end)? && number.plausible(topic) {
            best = Some(end);
        }
    }
    let Some(end) = best else { return Ok(None) };
    Ok(Some(Hit::whole(Kind::Phone, "pii.phone", extension(input, end)?)))
}

/// Whether there are enough digits for any telephone number: spares most numbers a look at their context.
fn digits_ahead(input: &Input<'_>, at: usize) -> Result<bool, Open> {
    let ahead = input.slice(at, input.bytes.len().min(at + LONGEST));
    let (mut digits, mut bracketed) = (0, false);
    for &b in ahead {
        match b {
            b'0'..=b'9' => digits += 1,
            b'+' if digits == 0 => {}
            b'(' if !bracketed => bracketed = true,
            b'+' | b'(' => return Ok(false),
            _ if bytes::joins(b) => {}
            _ => return Ok(false),
        }
        if digits == 7 {
            return Ok(true);
        }
    }
    if ahead.len() < LONGEST && !input.ended { Err(Open) } else { Ok(false) }
}

/// Whether digits can be the beginning of `ddd-ddd-dddd`, `1 ddd ...` or `00...`: all a number without a telling word may be.
fn shape_may_begin(input: &Input<'_>, at: usize) -> Result<bool, Open> {
    let end = input.run(at, at + 4, |b| b.is_ascii_digit())?;
    let joined = matches!(input.at(end)?, b'-' | b'.' | b' ' | b')' | b'(');
    Ok(match input.slice(at, end) {
        [b'0', b'0', ..] => true,
        [b'1'] => joined,
        [b'2'..=b'9', _, _] => joined && (input.at(end + 1)?.is_ascii_digit()),
        _ => false,
    })
}

fn boundary(input: &Input<'_>, end: usize) -> Result<bool, Open> {
    let next = input.at(end)?;
    if next == b'x' || next == b'e' {
        return Ok(true);
    }
    Ok(!is_word(next) && next != b'%' && !(matches!(next, b':' | b',' | b'/') && input.at(end + 1)?.is_ascii_digit()))
}

/// ` x123`, ` ext. 123`: the extension belongs to the number.
fn extension(input: &Input<'_>, end: usize) -> Result<usize, Open> {
    let start = end + usize::from(input.at(end)? == b' ');
    for mark in [&b"ext. "[..], b"ext.", b"ext ", b"ext", b"x"] {
        if input.starts_with(start, mark)? {
            let digits = start + mark.len();
            let stop = input.run(digits, digits + 7, |b| b.is_ascii_digit())?;
            return Ok(if stop > digits && stop < digits + 7 && !is_word(input.at(stop)?) { stop } else { end });
        }
    }
    Ok(end)
}

/// The groups of digits read so far.
#[derive(Default)]
struct Number {
    digits: Digits,
    groups: [u8; 12],
    count: usize,
    international: bool,
    bracketed: bool,
    open_bracket: bool,
    /// The signs between the groups, without those around a bracket.
    signs: [u8; 12],
}

impl Number {
    /// Reads what joins the next group to the last and the group itself; where it ends, or `None` when the number is over.
    fn group(&mut self, input: &Input<'_>, at: usize) -> Result<Option<usize>, Open> {
        let mut i = at;
        let mut sign = 0;
        for _ in 0..3 {
            match input.at(i)? {
                b'+' if self.digits.len == 0 && !self.international => self.international = true,
                b'(' if !self.bracketed => (self.bracketed, self.open_bracket) = (true, true),
                b')' if self.open_bracket => self.open_bracket = false,
                b @ (b' ' | b'-' | b'.' | b'/') if self.digits.len > 0 && sign == 0 => sign = b,
                _ => break,
            }
            i += 1;
        }
        let end = input.run(i, i + 16, |b| b.is_ascii_digit())?;
        if end == i || self.count == self.groups.len() {
            return Ok(None);
        }
        input.slice(i, end).iter().for_each(|&d| self.digits.push(d));
        if let (Some(group), Some(place)) = (self.groups.get_mut(self.count), self.signs.get_mut(self.count)) {
            *group = u8::try_from(end - i).unwrap_or(u8::MAX);
            *place = sign;
        }
        self.count += 1;
        Ok(Some(end))
    }

    /// A bracket that is still open takes its closing one along: `(+49 30)`.
    fn closed(&self, input: &Input<'_>, end: usize) -> Result<usize, Open> {
        Ok(if self.open_bracket && input.at(end)? == b')' { end + 1 } else { end })
    }

    fn plausible(&self, topic: Option<Topic>) -> bool {
        let digits = self.digits.seen();
        let groups = self.groups.get(..self.count).unwrap_or_default();
        if digits.iter().all(|d| Some(d) == digits.first()) || self.open_bracket && self.count < 2 {
            return false;
        }
        if self.international {
            return (8..=15).contains(&digits.len())
                && digits.first() != Some(&b'0')
                && (digits.first() != Some(&b'1') || digits.len() == 11);
        }
        let shaped = self.north_american(groups, digits);
        match topic {
            Some(Topic::Phone) => shaped || (7..=15).contains(&digits.len()) && self.spoken_of(groups, digits),
            Some(Topic::Other | Topic::Ssn) => shaped && self.bracketed,
            None => {
                shaped
                    || digits.starts_with(b"00")
                        && !digits.starts_with(b"000")
                        && self.count > 2
                        && (10..=15).contains(&digits.len())
            }
        }
    }

    /// `(ddd) ddd-dddd`, `ddd-ddd-dddd`, with a country code or without.
    fn north_american(&self, groups: &[u8], digits: &[u8]) -> bool {
        let (groups, digits, signs) = match (groups, digits) {
            ([1, rest @ ..], [b'1', digits @ ..]) => (rest, digits, self.signs.get(2..)),
            ([3, rest @ ..], [b'0', b'0', b'1', digits @ ..]) if rest.len() == 3 => (rest, digits, self.signs.get(2..)),
            _ => (groups, digits, self.signs.get(1..)),
        };
        let signs = signs.unwrap_or_default();
        let area = matches!(digits.first(), Some(b'2'..=b'9'));
        let even = signs.first() == signs.get(1) || self.bracketed;
        groups == [3, 3, 4] && area && even && !signs.iter().take(2).any(|&s| s == b'/')
    }

    /// A number of any country where the text says it is one: not a date, not the seconds since 1970.
    fn spoken_of(&self, groups: &[u8], digits: &[u8]) -> bool {
        match groups {
            [_] => digits.len() >= 8 || self.bracketed,
            // Two years.
            [4, 4] => !matches!(digits, [b'1', b'9', ..] | [b'2', b'0', ..]),
            _ => !self.date(groups) && groups.iter().all(|&g| g <= 11),
        }
    }

    fn date(&self, groups: &[u8]) -> bool {
        matches!(groups, [4, 1..=2, 1..=2] | [1..=2, 1..=2, 4]) && !self.bracketed
    }
}
