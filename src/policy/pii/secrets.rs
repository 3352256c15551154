//! Credentials: tokens known by their prefix, web tokens, private keys, passwords in URLs, and values assigned to a telling name.

use super::bytes;
use super::matching::{Found, Hit, Input, Kind, Open, Set, Tail, is_word};
use super::token_formats::{Format, formats_at};
use super::validators::{distinct, entropy, goes_on, placeholder};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::ops::Range;

/// A credential known by its first bytes.
pub(super) fn token(input: &Input<'_>, at: usize, first: u8) -> Found {
    if first == b'e'
        && let Some(token) = web_token(input, at)?
    {
        return Ok(Some(token));
    }
    prefixed(input, at)
}

/// A token whose format is known by its first letters; the earliest certain one wins.
fn prefixed(input: &Input<'_>, at: usize) -> Found {
    let (last, second) = (input.before(at, 1), input.before(at, 2));
    if last.is_ascii_alphanumeric() || last == b'.' && is_word(second) {
        return Ok(None);
    }
    let mut best = None;
    let mut open = None;
    for format in formats_at(input, at)? {
        match begins(input, at, format) {
            Ok(Some(hit)) => best = Some(hit),
            Ok(None) => {}
            Err(Open) => open = Some(Open),
        }
    }
    match (best, open) {
        (best, None) => Ok(best),
        (_, Some(Open)) => Err(Open),
    }
}

fn begins(input: &Input<'_>, at: usize, format: &Format) -> Found {
    if !input.starts_with(at, format.prefix.as_bytes())? {
        return Ok(None);
    }
    let body = at + format.prefix.len();
    let mut end = body;
    while end < body + format.least {
        let b = input.at(end)?;
        if format.set.has(b) || (format.set.joins(b) && format.set.has(input.at(end + 1)?)) {
            end += 1;
        } else {
            return Ok(None);
        }
    }
    let seen = input.slice(body, end);
    let real = distinct(seen) >= 7 && !placeholder(seen) && (!format.digit || seen.iter().any(u8::is_ascii_digit));
    if format.exact {
        let over = !format.set.has(input.at(end)?);
        return Ok((real && over).then(|| Hit::whole(Kind::Secret, format.id, end)));
    }
    Ok(real.then(|| Hit::running(format.id, end, Tail::Bytes(format.set))))
}

/// A JSON web token: a header that decodes to a JSON object, then a payload.
fn web_token(input: &Input<'_>, at: usize) -> Found {
    if is_word(input.before(at, 1)) || !input.starts_with(at, b"eyJ")? {
        return Ok(None);
    }
    let dot = input.run(at, at + 400, |b| Set::Word.has(b))?;
    if input.at(dot)? != b'.' {
        return Ok(None);
    }
    let payload = input.run(dot + 1, dot + 9, |b| Set::Word.has(b))?;
    let header = URL_SAFE_NO_PAD.decode(input.slice(at, dot)).unwrap_or_default();
    let real = payload == dot + 9 && header.starts_with(b"{\"") && header.is_ascii();
    Ok(real.then(|| Hit::running("secret.jwt", payload, Tail::Bytes(Set::Dotted))))
}

/// A private key in PEM armour, certain with the first bytes of its body: a mention of the armour alone is no key.
pub(super) fn private_key(input: &Input<'_>, at: usize) -> Found {
    if !input.starts_with(at, b"-----BEGIN ")? {
        return Ok(None);
    }
    let label = at + 11;
    let dashes = input.run(label, label + 48, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ')?;
    let private = input.slice(label, dashes).windows(11).any(|part| part == b"PRIVATE KEY");
    if !private || !input.starts_with(dashes, b"-----")? {
        return Ok(None);
    }
    let mut body = blank(input, dashes + 5, 16)?;
    // Encryption and version headers, as OpenSSL and PGP write them.
    for _ in 0..3 {
        let word = input.run(body, body + 24, |b| b.is_ascii_alphabetic() || b == b'-')?;
        if word == body || input.at(word)? != b':' {
            break;
        }
        let line = input.run(word, word + 72, |b| b != 0 && b != b'\n' && b != b'\\')?;
        body = blank(input, line, 16)?;
    }
    let end = input.run(body, body + 16, |b| Set::Base64.has(b))?;
    Ok((end == body + 16).then(|| Hit::running("secret.private_key", end, Tail::Pem)))
}

/// White space, also as the two characters `\n` and `\r` that source code writes.
fn blank(input: &Input<'_>, mut i: usize, limit: usize) -> Result<usize, Open> {
    let stop = i + limit;
    while i < stop {
        match input.at(i)? {
            b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'+' => i += 1,
            b'\\' if matches!(input.at(i + 1)?, b'n' | b'r') => i += 2,
            _ => break,
        }
    }
    Ok(i)
}

/// The password of `scheme://user:password@host`.
pub(super) fn url_password(input: &Input<'_>, at: usize) -> Found {
    if input.before(at, 1) != b':' || !behind_user(input, at) {
        return Ok(None);
    }
    let end = input.run(at, at + 128, |b| Set::Value.has(b) && b != b'@' && b != b'/')?;
    let value = input.slice(at, end);
    let named = [&b"password"[..], b"pass", b"pwd", b"passwd", b"secret"].iter().any(|word| value.eq_ignore_ascii_case(word));
    let real = input.at(end)? == b'@' && value.len() >= 3 && !named && value.first() != Some(&b'$') && !filler(value);
    Ok(real.then(|| Hit::whole(Kind::Secret, "secret.url_password", end)))
}

/// Whether `scheme://user:` ends at `at`, of which the colon is known.
pub(super) fn behind_user(input: &Input<'_>, at: usize) -> bool {
    let left = input.left(at.saturating_sub(1), 96);
    let user =
        left.iter().rev().take_while(|&&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'%' | b'+')).count();
    let scheme = left.get(..left.len() - user).unwrap_or_default();
    let stem = scheme.strip_suffix(b"://").and_then(|s| s.last());
    stem.is_some_and(u8::is_ascii_alphanumeric)
}

fn filler(value: &[u8]) -> bool {
    value.len() > 4 && distinct(value) < 3
}

/// How much a name says about the value assigned to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Password,
    Key,
    Bearer,
}

/// How much of an assigned value is looked at, in bytes.
const VALUE: usize = 128;

/// The last run of bytes that was read as a value: names and values that follow each other without a gap are one run, and read
/// once.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    read: Range<usize>,
}

impl Values {
    /// Where the value that begins at `at` ends; it is cut at [`VALUE`] bytes.
    fn end(&mut self, input: &Input<'_>, at: usize) -> Result<usize, Open> {
        if !self.read.contains(&at) {
            self.read = at..at;
        }
        let limit = at + VALUE;
        let ahead = input.slice(self.read.end, limit.min(input.bytes.len()));
        self.read.end += ahead.iter().take_while(|&&b| Set::Value.has(b)).count();
        if self.read.end < limit {
            input.at(self.read.end)?;
        }
        Ok(self.read.end.min(limit))
    }

    /// The first `bytes` of the text are gone.
    pub fn forget(&mut self, bytes: usize) {
        self.read = self.read.start.saturating_sub(bytes)..self.read.end.saturating_sub(bytes);
    }
}

/// A value assigned to a name that promises a secret: `api_key = "..."`, `password: ...`, `Authorization: Bearer ...`.
pub(super) fn assigned(input: &Input<'_>, at: usize, values: &mut Values) -> Found {
    let Some((name, quoted)) = name_before(input, at) else { return Ok(None) };
    if !Set::Value.has(input.at(at)?) || matches!(input.at(at)?, b':' | b'=' | b'$' | b'*' | b'@' | b'|') {
        return Ok(None);
    }
    let mut end = values.end(input, at)?;
    let long = end == at + VALUE;
    if !long && matches!(input.at(end)?, b'(' | b'[' | b'{' | b'<') {
        return Ok(None);
    }
    if !long && !quoted {
        while end > at && matches!(input.before(end, 1), b'.' | b':' | b'?' | b'!' | b'&') {
            end -= 1;
        }
    }
    let value = input.slice(at, end);
    Ok(telling(value, name, quoted).then(|| {
        let tail = long.then_some(Tail::Bytes(Set::Value));
        Hit { tail, ..Hit::whole(Kind::Secret, "secret.assignment", end) }
    }))
}

fn telling(value: &[u8], name: Name, quoted: bool) -> bool {
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    if digits == 0 && (name != Name::Password || !quoted) {
        return false;
    }
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let mixed = digits > 0 && letters > 0;
    // `config.api_key2` is code, not a token.
    let code = !quoted && value.contains(&b'.') && value.len() < 40;
    let likely = match name {
        Name::Password => value.len() >= 6 && self::name(value).is_none() && (mixed || quoted && value.len() >= 8) && !code,
        Name::Key | Name::Bearer => {
            let random = mixed && (digits >= 3 || digits == 2 && value.len() < 16 || value.len() >= 20) && entropy(value) >= 3.0
                || letters == 0 && digits >= 16;
            value.len() >= 14 && random && !code
        }
    };
    likely && !placeholder(value) && !value.windows(2).any(|w| w == b"${" || w == b"::")
}

/// The name to the left of a value, and whether a quote stands between them.
fn name_before(input: &Input<'_>, at: usize) -> Option<(Name, bool)> {
    if !matches!(input.before(at, 1), b'"' | b'\'' | b'`' | b'=' | b':' | b' ' | b'\t' | b'>' | 0x1D) {
        return None;
    }
    // Prose: behind one space only `bearer` and `is` tell anything.
    let end = input.before(at, 2);
    if input.before(at, 1) == b' '
        && !bytes::joint(end)
        && !matches!((input.before(at, 3) | 32, end | 32), (b'e', b'r') | (b'i', b's'))
    {
        return None;
    }
    let left = input.left(at, NAME);
    let gap = left.iter().rev().take(GAP).take_while(|&&b| bytes::joint(b)).count();
    let (head, signs) = left.split_at_checked(left.len() - gap)?;
    let quoted = matches!(signs.last(), Some(b'"' | b'\'' | b'`' | 0x1D));
    let word = name_at_end(head);
    let rest = head.get(..head.len() - word.len())?;
    if signs.iter().any(|b| matches!(b, b'=' | b':')) {
        return Some((name(word)?, quoted));
    }
    if word.eq_ignore_ascii_case(b"bearer") && signs == b" " {
        return Some((Name::Bearer, false));
    }
    // `my password is ...`
    let rest = rest.strip_suffix(b" ").filter(|_| word.eq_ignore_ascii_case(b"is"))?;
    let letters = rest.iter().rev().take_while(|b| b.is_ascii_alphabetic()).count();
    let word = rest.get(rest.len() - letters..)?;
    (name(word)? == Name::Password).then_some((Name::Password, false))
}

/// Whether the `=` or `:` at `at` stands behind a name that may promise a secret, and how far from there its value may begin.
pub(super) fn announced(input: &Input<'_>, at: usize) -> Option<usize> {
    let left = input.left(at, NAME + GAP);
    let gap = left.iter().rev().take(GAP - 1).take_while(|&&b| bytes::joint(b)).count();
    let head = left.get(..left.len() - gap)?;
    let word = name_at_end(head);
    // Of a long name a value further on sees less.
    (word.len() >= NAME - GAP || name(word).is_some()).then_some(at - gap + GAP)
}

/// How far to the left of a value its name is looked for, and how many of those bytes may join them.
const NAME: usize = 80;
const GAP: usize = 8;

/// The name that ends where the text ends.
fn name_at_end(text: &[u8]) -> &[u8] {
    let letters = text.iter().rev().take_while(|&&b| bytes::named(b)).count();
    text.get(text.len() - letters..).unwrap_or_default()
}

/// Whether the word that ends at `at`, which is `bearer` or `is`, may stand before a secret, and how far from there.
pub(super) fn announced_in_words(input: &Input<'_>, at: usize) -> Option<usize> {
    let left = input.left(at, NAME);
    let announces = match left {
        [.., b' ', i, s] if [i | 0x20, s | 0x20] == *b"is" => {
            let before = left.get(..left.len() - 3)?;
            let letters = before.iter().rev().take_while(|b| b.is_ascii_alphabetic()).count();
            name(before.get(before.len() - letters..)?) == Some(Name::Password)
        }
        _ => left.get(left.len().checked_sub(6)?..)?.eq_ignore_ascii_case(b"bearer"),
    };
    announces.then_some(at + GAP)
}

/// What a name promises: one look at each of its letters.
fn name(word: &[u8]) -> Option<Name> {
    /// By its first letter, the second letters of all that tells.
    static PAIRS: [u32; 32] = {
        let telling = b"papwsetoapacbepuprcacsfosoau";
        let mut pairs = [0; 32];
        let mut n = 0;
        while n < telling.len() {
            pairs[(telling[n] & 31) as usize] |= 1 << (telling[n + 1] & 31);
            n += 2;
        }
        pairs
    };
    let ends_in_key = word.len() > 4
        && word.get(word.len() - 4..).is_some_and(|w| matches!(w, [b'_' | b'-', key @ ..] if key.eq_ignore_ascii_case(b"key")));
    let (mut key, mut other) = (ends_in_key, false);
    for (at, pair) in word.windows(2).enumerate() {
        let &[first, second] = pair else { continue };
        if PAIRS.get(usize::from(first & 31)).is_none_or(|seconds| seconds >> (second & 31) & 1 == 0) {
            continue;
        }
        let holds = |words: &[&[u8]]| words.iter().any(|part| goes_on(word, at, part));
        match (first | 0x20, second | 0x20) {
            (b'p', b'a') if holds(&[b"password", b"passwd", b"passphrase", b"passwort"]) => return Some(Name::Password),
            (b'p', b'w') if holds(&[b"pwd"]) => return Some(Name::Password),
            (b's', b'e') => key |= holds(&[b"secret"]),
            (b't', b'o') if holds(&[b"token"]) => {
                key = true;
                other |= holds(&[b"tokens", b"token_type", b"tokenizer"]);
            }
            (b'a', b'p') => key |= holds(&[b"apikey", b"api_key", b"api-key"]),
            (b'a', b'c') => key |= holds(&[b"accesskey"]),
            (b'b', b'e') => key |= holds(&[b"bearer"]),
            (b'p', b'u' | b'r' | b'a') => other |= holds(&[b"public", b"primary", b"partition"]),
            (b'c', b'a' | b's') => other |= holds(&[b"cache", b"csrf"]),
            (b'f', b'o') => other |= holds(&[b"foreign"]),
            (b's', b'o') => other |= holds(&[b"sort"]),
            (b'a', b'u') => other |= holds(&[b"audience"]),
            _ => {}
        }
    }
    (key && !other).then_some(Name::Key)
}

impl Tail {
    /// How far a running secret goes from `at`: where the part that is certain to belong to it ends, and whether it ends there.
    pub fn extend(self, input: &Input<'_>, mut at: usize) -> (usize, bool) {
        loop {
            let next = match self {
                Tail::Bytes(set) => next_byte(input, at, set),
                Tail::Pem => next_line(input, at),
            };
            match next {
                Ok(next) if next == at => return (at, true),
                Ok(next) => at = next,
                Err(Open) => return (at, false),
            }
        }
    }
}

fn next_byte(input: &Input<'_>, at: usize, set: Set) -> Result<usize, Open> {
    let b = input.at(at)?;
    let belongs = set.has(b) || (set.joins(b) && set.has(input.at(at + 1)?));
    Ok(if belongs { at + 1 } else { at })
}

/// One step through PEM: a key byte of a line, a line break with the next line, or the END line. Anything else ends the key.
fn next_line(input: &Input<'_>, at: usize) -> Result<usize, Open> {
    let b = input.at(at)?;
    if Set::Base64.has(b) && b != b'-' {
        return Ok(at + 1);
    }
    let line = blank(input, at, 12)?;
    if input.starts_with(line, b"-----END ")? {
        let label = input.run(line + 9, line + 57, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ')?;
        return input.run(label, label + 5, |b| b == b'-');
    }
    let word = input.run(line, line + 16, |b| Set::Base64.has(b) && b != b'-')?;
    let full = word == line + 16;
    // The last line of a key may be short; a word of prose behind a key that was cut off must not be taken for one.
    let last = word > line && input.starts_with(blank(input, word, 12)?, b"-----END ")?;
    Ok(if line > at && (full || last) { word } else { at })
}
