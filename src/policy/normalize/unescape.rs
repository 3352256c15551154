//! Escapes a model reads without effort: `&#105;`, `\u0069`, `\x69`, `\151`, `%69`, `=69`.

use super::{Rewritten, bytes};

/// Rewrites `text` into `out` with its escapes decoded; false, and nothing written, when none of them hides a character.
///
/// `&amp;`, `\n` and their like are decoded on the way, but do not make a view by themselves: they are everywhere and hide nothing.
pub fn unescape(text: &str, into: &mut Rewritten) -> bool {
    let bytes = text.as_bytes();
    if !escapes(bytes).any(|(_, escape)| escape.hides) {
        return false;
    }
    let Rewritten { text: out, map, .. } = into;
    let mut copied = 0;
    for (at, escape) in escapes(bytes) {
        if copied < at {
            map.copy(out.len(), copied);
            out.push_str(text.get(copied..at).unwrap_or_default());
        }
        map.unit(out.len(), at);
        out.push(escape.to);
        copied = at + escape.len;
    }
    if copied < text.len() {
        map.copy(out.len(), copied);
        out.push_str(text.get(copied..).unwrap_or_default());
    }
    map.finish(text.len());
    true
}

/// The escapes and where they begin.
fn escapes(bytes: &[u8]) -> impl Iterator<Item = (usize, Escape)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += bytes::find(bytes.get(at..)?, begins)?;
            #[cfg(test)]
            super::work::count(5);
            let begin = at;
            match bytes.get(begin..).and_then(escape) {
                Some(escape) => {
                    at += escape.len;
                    return Some((begin, escape));
                }
                None => at += 1,
            }
        }
    })
}

/// Whether an escape may begin with this.
fn begins(b: u8) -> bool {
    (b == b'&') | (b == b'\\') | (b == b'%') | (b == b'=')
}

/// One escape: how long it is, and what it stands for.
struct Escape {
    len: usize,
    to: char,
    hides: bool,
}

fn escape(bytes: &[u8]) -> Option<Escape> {
    match bytes {
        [b'&', b'#', b'x' | b'X', rest @ ..] => entity(3, rest, 16),
        [b'&', b'#', rest @ ..] => entity(2, rest, 10),
        // An escape of an escape: the next depth reads it.
        [b'&', b'a', b'm', b'p', b';', b'#', ..] => Some(Escape { len: 5, to: '&', hides: true }),
        [b'&', ..] => named(bytes),
        [b'%', ..] => percent(bytes),
        // Quoted-printable; where it stands for a control character, it is an assignment.
        [b'=', rest @ ..] => {
            let to = character(rest.get(..2)?, 16).filter(|c| matches!(c, ' '..='~'))?;
            Some(Escape { len: 3, to, hides: true })
        }
        [b'\\', b'u', b'{', rest @ ..] => {
            let digits = rest.iter().take(7).take_while(|b| b.is_ascii_hexdigit()).count();
            (rest.get(digits) == Some(&b'}')).then_some(())?;
            Some(Escape { len: 4 + digits, to: character(rest.get(..digits)?, 16)?, hides: true })
        }
        [b'\\', b'u', rest @ ..] => utf16(rest),
        [b'\\', b'U', rest @ ..] => Some(Escape { len: 10, to: character(rest.get(..8)?, 16)?, hides: true }),
        [b'\\', b'x', rest @ ..] => Some(Escape { len: 4, to: character(rest.get(..2)?, 16)?, hides: true }),
        [b'\\', b'0' | b'1', b'0'..=b'7', b'0'..=b'7', ..] => {
            let to = character(bytes.get(1..4)?, 8).filter(|c| !c.is_ascii_control())?;
            Some(Escape { len: 4, to, hides: true })
        }
        [b'\\', b'n' | b'r', ..] => Some(Escape { len: 2, to: '\n', hides: false }),
        [b'\\', b't', ..] => Some(Escape { len: 2, to: '\t', hides: false }),
        [b'\\', quote @ (b'"' | b'\'' | b'\\' | b'/'), ..] => Some(Escape { len: 2, to: *quote as char, hides: false }),
        _ => None,
    }
}

fn entity(prefix: usize, digits: &[u8], radix: u32) -> Option<Escape> {
    let count = digits.iter().take(8).take_while(|b| (**b as char).is_digit(radix)).count();
    let to = character(digits.get(..count)?, radix)?;
    Some(Escape { len: prefix + count + usize::from(digits.get(count) == Some(&b';')), to, hides: true })
}

fn named(bytes: &[u8]) -> Option<Escape> {
    let (len, to) = match bytes {
        [b'&', b'a', b'm', b'p', b';', ..] => (5, '&'),
        [b'&', b'a', b'p', b'o', b's', b';', ..] => (6, '\''),
        [b'&', b'l', b't', b';', ..] => (4, '<'),
        [b'&', b'g', b't', b';', ..] => (4, '>'),
        [b'&', b'q', b'u', b'o', b't', b';', ..] => (6, '"'),
        [b'&', b'n', b'b', b's', b'p', b';', ..] => (6, ' '),
        [b'&', b'T', b'a', b'b', b';', ..] => (5, '\t'),
        [b'&', b'N', b'e', b'w', b'L', b'i', b'n', b'e', b';', ..] => (9, '\n'),
        [b'&', b'l', b'b', b'r', b'a', b'c', b'k', b';', ..] => (8, '['),
        [b'&', b'r', b'b', b'r', b'a', b'c', b'k', b';', ..] => (8, ']'),
        [b'&', b'l', b's', b'q', b'b', b';', ..] => (6, '['),
        [b'&', b'r', b's', b'q', b'b', b';', ..] => (6, ']'),
        _ => return None,
    };
    Some(Escape { len, to, hides: false })
}

/// `%69`, or the two to four such bytes of one character.
fn percent(bytes: &[u8]) -> Option<Escape> {
    let mut utf8 = [0u8; 4];
    for len in 1..=utf8.len() {
        let [b'%', digits @ ..] = bytes.get(3 * (len - 1)..3 * len)? else { return None };
        *utf8.get_mut(len - 1)? = u8::try_from(number(digits, 16)?).ok()?;
        if let Some(to) = std::str::from_utf8(utf8.get(..len)?).ok().and_then(|s| s.chars().next()) {
            return Some(Escape { len: 3 * len, to, hides: true });
        }
    }
    None
}

/// Four hex digits, or the two escapes of a surrogate pair.
fn utf16(digits: &[u8]) -> Option<Escape> {
    let unit = |at: usize| digits.get(at..at + 4).and_then(|d| number(d, 16)).and_then(|n| u16::try_from(n).ok());
    let first = unit(0)?;
    if let Some(to) = char::from_u32(u32::from(first)) {
        return Some(Escape { len: 6, to, hides: true });
    }
    let second = (digits.get(4..6)? == b"\\u").then(|| unit(6)).flatten()?;
    let to = char::decode_utf16([first, second]).next()?.ok()?;
    Some(Escape { len: 12, to, hides: true })
}

fn character(digits: &[u8], radix: u32) -> Option<char> {
    number(digits, radix).and_then(char::from_u32)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digit = |value: u32, digit: &u8| value.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?);
    digits.iter().try_fold(0, digit).filter(|_| !digits.is_empty())
}
