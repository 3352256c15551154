//! Values made of words: e-mail addresses, IBANs, IPv6 addresses, card-holder names.

use super::context::named;
use super::matching::{Found, Hit, Input, Kind, is_word};
use super::{numbers, validators};
use std::net::Ipv6Addr;

/// Bytes of an e-mail address before its `@` (RFC 5321, 4.5.3.1.1). Of a longer run the last 64 count, so that padding hides
/// nothing and a stream need not hold more.
pub(super) const LOCAL_PART: usize = 64;

/// The address whose local part is `at..sign` and whose `@` is at `sign`.
pub(super) fn email(input: &Input<'_>, sign: usize) -> Found {
    const DOMAIN: usize = 190;
    let mut end = None;
    let mut label = sign + 1;
    loop {
        let stop = input.run(label, sign + DOMAIN, |b| b.is_ascii_alphanumeric() || b == b'-' || b >= 0x80)?;
        let text = input.slice(label, stop);
        if text.is_empty() || text.starts_with(b"-") || stop == sign + DOMAIN {
            break;
        }
        let name = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let top = if text.starts_with(b"xn--") { text.len() } else { name };
        let whole = top == text.len() || matches!(text.get(top), Some(b'-' | 0x80..));
        if label > sign + 1 && (2..=24).contains(&top) && whole {
            end = Some(label + top);
        }
        if input.at(stop)? != b'.' {
            break;
        }
        label = stop + 1;
    }
    Ok(end.map(|end| Hit::whole(Kind::Email, "pii.email", end)))
}

/// Two letters, two digits and what the country adds, in one piece or in groups joined by single spaces.
pub(super) fn iban(input: &Input<'_>, at: usize) -> Found {
    let (first, second) = (input.at(at)?, if input.at(at)?.is_ascii_uppercase() { input.at(at + 1)? } else { 0 });
    let Some(length) = validators::iban_length([first, second]).filter(|_| !is_word(input.before(at, 1))) else {
        return Ok(None);
    };
    let mut account = [0u8; 34];
    let (mut i, mut seen) = (at, 0);
    while seen < length {
        let b = input.at(i)?;
        if matches!(b, b' ' | b'-') && seen >= 4 && input.before(i, 1).is_ascii_alphanumeric() {
            i += 1;
            continue;
        }
        let fits = b.is_ascii_digit() || b.is_ascii_uppercase() && !(2..4).contains(&seen);
        match account.get_mut(seen) {
            Some(place) if fits => *place = b,
            _ => return Ok(None),
        }
        seen += 1;
        i += 1;
    }
    let real = !is_word(input.at(i)?) && account.get(..length).is_some_and(validators::iban);
    Ok(real.then(|| Hit::whole(Kind::Iban, "pii.iban", i)))
}

/// An IPv6 address in any of its spellings, with the prefix length of a network. Those that name no machine, and words that only
/// look like one (`dead::beef`), are left alone.
pub(super) fn ipv6(input: &Input<'_>, at: usize) -> Found {
    let last = input.before(at, 1);
    if is_word(last) || last == b':' || last == b'.' && is_word(input.before(at, 2)) {
        return Ok(None);
    }
    // Most words end here: an address has a colon within its first five bytes.
    let colon = input.run(at, at + 5, |b| b.is_ascii_hexdigit())?;
    if input.at(colon)? != b':' {
        return Ok(None);
    }
    let stop = input.run(at, at + 46, |b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))?;
    if is_word(input.at(stop)?) {
        return Ok(None);
    }
    // Of the colons and full stops behind it, only a first `::` may belong to an address.
    let bare = stop - input.slice(at, stop).iter().rev().take_while(|b| matches!(b, b':' | b'.')).count();
    let end = if input.slice(bare, stop).starts_with(b"::") { bare + 2 } else { bare };
    let parsed = |end: usize| std::str::from_utf8(input.slice(at, end)).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    let (end, address) = match parsed(end) {
        None => (bare, parsed(bare)),
        address => (end, address),
    };
    let text = input.slice(at, end);
    let groups = text.split(|&b| b == b':').filter(|group| !group.is_empty()).count();
    let names_machine = address.is_some_and(|address| !address.is_loopback() && !address.is_unspecified());
    if !names_machine || groups < 2 || !text.iter().any(u8::is_ascii_digit) {
        return Ok(None);
    }
    Ok(Some(Hit::whole(Kind::IpAddress, "pii.ipv6", numbers::network(input, end, 128)?)))
}

/// Whether the words to the left announce the name of a card's holder.
pub(super) fn names_holder(input: &Input<'_>, at: usize, card_near: bool) -> bool {
    const SURE: &[&str] = &[
        "cardholder",
        "card holder",
        "name on card",
        "name on the card",
        "cardholder name",
        "card holder name",
        "cardholder's name",
    ];
    const NEAR: &[&str] = &["holder", "holder name", "account name", "in the name of", "name"];
    named(input, at, SURE) || card_near && named(input, at, NEAR)
}

/// Two to four capitalised words behind "cardholder" or "name on card", or behind "name" close to a card.
pub(super) fn cardholder(input: &Input<'_>, at: usize, card_near: bool) -> Found {
    if is_word(input.before(at, 1)) || !names_holder(input, at, card_near) {
        return Ok(None);
    }
    let mut end = None;
    let mut i = at;
    for words in 1..=4 {
        if !starts_name(input.at(i)?) {
            break;
        }
        let stop = input.run(i, i + 24, |b| b.is_ascii_alphabetic() || matches!(b, b'\'' | b'-') || b >= 0x80)?;
        let initial = stop == i + 1 && input.at(stop)? == b'.';
        i = stop + usize::from(initial);
        if words > 1 && !initial && !is_word(input.at(i)?) {
            end = Some(i);
        }
        if input.at(i)? != b' ' {
            break;
        }
        i += 1;
    }
    Ok(end.map(|end| Hit::whole(Kind::CardholderName, "pii.cardholder_name", end)))
}

fn starts_name(b: u8) -> bool {
    b.is_ascii_uppercase() || b >= 0x80
}

/// Whether the local part of an address may begin with this byte.
pub(super) fn begins_address(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

/// Where an address begins whose run of local-part bytes is `start..sign`.
pub(super) fn address_start(bytes: &[u8], start: usize, sign: usize) -> Option<usize> {
    let mut at = start.max(sign.saturating_sub(LOCAL_PART));
    let run = bytes.get(at..sign).unwrap_or_default();
    if let Some(dots) = run.windows(2).rposition(|pair| pair == b"..") {
        at += dots + 2;
    }
    while at < sign && !bytes.get(at).is_some_and(|&b| begins_address(b) && !(0x80..0xC0).contains(&b)) {
        at += 1;
    }
    (at < sign && bytes.get(sign - 1) != Some(&b'.')).then_some(at)
}
