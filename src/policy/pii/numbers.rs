//! Values made of digits: payment cards, social security numbers, telephone numbers, IPv4 addresses and what goes by a name.

use super::context::{Topic, Topics, named};
use super::matching::{Found, Hit, Input, Kind, Open, is_word};
use super::validators::{self, CardNumber};

/// A payment card: 12 to 19 digits in one run, or in groups of three or more joined by single spaces or hyphens.
pub(super) fn card(input: &Input<'_>, at: usize) -> Found {
    if !begins(input, at) {
        return Ok(None);
    }
    let mut number = CardNumber::default();
    let mut best = None;
    let mut i = at;
    loop {
        let group = i;
        let next = loop {
            match input.at(i)? {
                b if !b.is_ascii_digit() => break b,
                digit if number.push(digit) => i += 1,
                _ => return Ok(best),
            }
        };
        if !is_word(next) && number.is_real() {
            best = Some(Hit::whole(Kind::CreditCard, "pii.credit_card", i));
        }
        let more = matches!(next, b' ' | b'-') && i - group >= 3 && number.len() < 19 && input.at(i + 1)?.is_ascii_digit();
        if !more {
            return Ok(best);
        }
        i += 1;
    }
}

/// A US social security number: `ddd-dd-dddd`; with spaces, full stops or nothing between only where the text speaks of one.
pub(super) fn ssn(input: &Input<'_>, at: usize, topics: &mut Topics) -> Found {
    if !begins(input, at) {
        return Ok(None);
    }
    let mut digits = Digits::default();
    let mut i = at;
    let mut sign = None;
    for (n, length) in [3, 2, 4].into_iter().enumerate() {
        let end = input.run(i, i + length, |b| b.is_ascii_digit())?;
        if end < i + length {
            return Ok(None);
        }
        input.slice(i, end).iter().for_each(|&d| digits.push(d));
        i = end;
        if n == 2 {
            break;
        }
        let next = input.at(i)?;
        let join = matches!(next, b'-' | b' ' | b'.').then_some(next);
        if n == 1 && join != sign {
            return Ok(None);
        }
        sign = join;
        i += usize::from(join.is_some());
    }
    if !ends(input, i)? || !validators::ssn(digits.seen()) {
        return Ok(None);
    }
    let sure = sign == Some(b'-') || topics.at(input, at) == Some(Topic::Ssn);
    Ok(sure.then(|| Hit::whole(Kind::Ssn, "pii.ssn", i)))
}

/// An IPv4 address, with the prefix length of a network. Addresses that name no machine (loopback, unspecified, broadcast) are
/// left alone.
pub(super) fn ipv4(input: &Input<'_>, at: usize) -> Found {
    if !begins(input, at) {
        return Ok(None);
    }
    let mut i = at;
    let mut octets = [0u16; 4];
    for (n, octet) in octets.iter_mut().enumerate() {
        let end = input.run(i, i + 4, |b| b.is_ascii_digit())?;
        let text = input.slice(i, end);
        *octet = text.iter().fold(0, |value, d| value * 10 + u16::from(d - b'0'));
        let leading_zero = text.len() > 1 && text.first() == Some(&b'0');
        if text.is_empty() || *octet > 255 || leading_zero {
            return Ok(None);
        }
        i = end;
        if n < 3 {
            if input.at(i)? != b'.' {
                return Ok(None);
            }
            i += 1;
        }
    }
    let next = input.at(i)?;
    if is_word(next) || (next == b'.' && input.at(i + 1)?.is_ascii_digit()) {
        return Ok(None);
    }
    if matches!(octets, [127, ..] | [0, 0, 0, 0] | [255, 255, 255, 255]) || named(input, at, &["version", "ver", "release"]) {
        return Ok(None);
    }
    let end = network(input, i, 32)?;
    Ok(Some(Hit::whole(Kind::IpAddress, "pii.ipv4", end)))
}

/// `/24` behind an address.
pub(super) fn network(input: &Input<'_>, at: usize, most: u16) -> Result<usize, Open> {
    if input.at(at)? != b'/' {
        return Ok(at);
    }
    let end = input.run(at + 1, at + 4, |b| b.is_ascii_digit())?;
    let bits = input.slice(at + 1, end).iter().fold(0u16, |value, d| value * 10 + u16::from(d - b'0'));
    let fits = end > at + 1 && end < at + 4 && bits <= most && !is_word(input.at(end)?) && input.at(end)? != b'/';
    // A three-digit length exists for IPv6 only.
    let long = most > 99 && end == at + 4 && bits <= most && !is_word(input.at(end)?);
    Ok(if fits || long { end } else { at })
}

/// Whether the words to the left announce a card's verification value.
pub(super) fn names_cvv(input: &Input<'_>, at: usize, card_near: bool) -> bool {
    const SURE: &[&str] = &["cvv", "cvc", "cvv2", "cvc2", "card verification", "card security"];
    const NEAR: &[&str] = &["security", "cid", "csc", "verification"];
    named(input, at, SURE) || card_near && named(input, at, NEAR)
}

/// A card's verification value.
pub(super) fn cvv(input: &Input<'_>, at: usize, card_near: bool) -> Found {
    if !begins(input, at) {
        return Ok(None);
    }
    let end = input.run(at, at + 5, |b| b.is_ascii_digit())?;
    let fits = (3..=4).contains(&(end - at)) && names_cvv(input, at, card_near) && ends(input, end)?;
    Ok(fits.then(|| Hit::whole(Kind::Cvv, "pii.cvv", end)))
}

fn names_npi(input: &Input<'_>, at: usize) -> bool {
    named(input, at, &["npi", "provider identifier", "national provider"])
}

/// A US national provider identifier, named as one.
pub(super) fn npi(input: &Input<'_>, at: usize) -> Found {
    if !begins(input, at) || !names_npi(input, at) {
        return Ok(None);
    }
    let end = input.run(at, at + 11, |b| b.is_ascii_digit())?;
    let real = ends(input, end)? && validators::npi(input.slice(at, end));
    Ok(real.then(|| Hit::whole(Kind::Npi, "pii.npi", end)))
}

fn names_health_id(input: &Input<'_>, at: usize) -> Option<(Kind, &'static str)> {
    const MRN: &[&str] = &["mrn", "medical record", "patient id", "patient record", "medical rec"];
    const INSURANCE: &[&str] =
        &["insurance", "insurance policy", "member", "subscriber", "policy", "health plan", "medicare", "medicaid"];
    if named(input, at, MRN) {
        return Some((Kind::Mrn, "pii.mrn"));
    }
    named(input, at, INSURANCE).then_some((Kind::InsuranceId, "pii.insurance_id"))
}

/// Whether the words to the left announce a number of the health system.
pub(super) fn names_health(input: &Input<'_>, at: usize) -> bool {
    names_npi(input, at) || names_health_id(input, at).is_some()
}

/// A medical record number or an insurance number: letters and digits behind a name that says so.
pub(super) fn health_id(input: &Input<'_>, at: usize) -> Found {
    if is_word(input.before(at, 1)) || input.before(at, 1) == b'-' {
        return Ok(None);
    }
    let Some(found) = names_health_id(input, at) else { return Ok(None) };
    let mut end = input.run(at, at + 25, |b| b.is_ascii_alphanumeric() || b == b'-')?;
    while end > at && input.before(end, 1) == b'-' {
        end -= 1;
    }
    let digits = input.slice(at, end).iter().filter(|b| b.is_ascii_digit()).count();
    let fits = (5..=24).contains(&(end - at)) && digits >= 4 && !is_word(input.at(end)?);
    Ok(fits.then(|| Hit::whole(found.0, found.1, end)))
}

/// A number may begin here: not inside a word, a longer number, a decimal or a hyphenated name.
pub(super) fn begins(input: &Input<'_>, at: usize) -> bool {
    let (last, second) = (input.before(at, 1), input.before(at, 2));
    let joined = matches!(last, b'.' | b'-' | b',' | b'/') && second.is_ascii_alphanumeric();
    !(joined || is_word(last) || matches!(last, b'$' | b'%' | b'~'))
}

/// A number may end here: it is not the head of a longer one or of a word.
pub(super) fn ends(input: &Input<'_>, at: usize) -> Result<bool, Open> {
    let next = input.at(at)?;
    let joined = matches!(next, b'-' | b'.' | b'/' | b':') && input.at(at + 1)?.is_ascii_digit();
    Ok(!joined && !is_word(next))
}

/// At most twenty digits, without what stood between them.
#[derive(Default)]
pub(super) struct Digits {
    digits: [u8; 20],
    pub len: usize,
}

impl Digits {
    pub fn push(&mut self, digit: u8) {
        if let Some(place) = self.digits.get_mut(self.len) {
            *place = digit;
            self.len += 1;
        }
    }

    pub fn seen(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }
}
