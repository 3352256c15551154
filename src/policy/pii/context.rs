//! The words to the left of a value: they decide whether digits are a telephone number, an invoice or a year. Nothing ever looks
//! to the right, which would hold a stream back.

use super::bytes;
use super::matching::Input;

/// What the nearest telling word to the left speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Phone,
    Ssn,
    /// A number of another sort: an order, a version, a date, an amount.
    Other,
}

/// How far to the left a word still tells what digits are, in bytes.
const REACH: usize = 40;

/// The topics of a text, asked for from left to right: each byte is read once, however often it is asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Topics {
    read: usize,
    /// The last telling word before `read`, and where it begins.
    found: Option<(usize, Topic)>,
}

impl Topics {
    /// The topic of the nearest telling word close to the left of a place where no word goes on. Places never decrease.
    pub fn at(&mut self, input: &Input<'_>, at: usize) -> Option<Topic> {
        let edge = at.saturating_sub(REACH);
        let from = self.read.max(edge).min(at);
        if let Some((place, topic)) = telling(input.left(at, at - from)) {
            self.found = Some((from + place, topic));
        }
        self.read = at;
        // A word cut by the edge is not read.
        self.found.filter(|&(place, _)| place > edge || at < REACH).map(|(_, topic)| topic)
    }

    /// The first `bytes` of the text are gone.
    pub fn forget(&mut self, bytes: usize) {
        self.read = self.read.saturating_sub(bytes);
        self.found = self.found.and_then(|(place, topic)| Some((place.checked_sub(bytes)?, topic)));
    }
}

/// The last telling word and where it begins.
fn telling(left: &[u8]) -> Option<(usize, Topic)> {
    let mut end = left.len();
    loop {
        let stop = end - left.get(..end)?.iter().rev().take_while(|&&b| !bytes::letter(b)).count();
        let start = stop - left.get(..stop)?.iter().rev().take_while(|&&b| bytes::letter(b)).count();
        let word = left.get(start..stop).filter(|word| !word.is_empty())?;
        let told = if word.is_ascii() { spoken(word).map(|topic| (0, topic)) } else { elsewhere(word, left.get(stop).copied()) };
        if let Some((place, topic)) = told {
            return Some((start + place, topic));
        }
        end = start;
    }
}

/// What a word speaks of that is not of ASCII letters alone, and from where on: a word of another language, or the last telling
/// part of a script without spaces.
fn elsewhere(word: &[u8], next: Option<u8>) -> Option<(usize, Topic)> {
    const WORDS: &[&str] = &["téléphone", "teléfono", "tél", "móvil", "телефон"];
    const PARTS: &[&str] = &["电话", "手机", "電話", "携帯", "전화", "휴대폰", "연락처"];
    if WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())) || next == Some(b'.') && word == "тел".as_bytes()
    {
        return Some((0, Topic::Phone));
    }
    let holds = |part: &[u8]| PARTS.iter().any(|known| memchr::memmem::find(part, known.as_bytes()).is_some());
    let of = |part: &[u8]| if part.is_ascii() { spoken(part) } else { holds(part).then_some(Topic::Phone) };
    let mut start = word.len();
    word.chunk_by(|a, b| a.is_ascii() == b.is_ascii()).rev().find_map(|part| {
        start -= part.len();
        Some((start, of(part)?))
    })
}

/// The topic a word speaks of.
#[rustfmt::skip]
fn spoken(word: &[u8]) -> Option<Topic> {
    if camel(word, b"Phone") || camel(word, b"Mobile") {
        return Some(Topic::Phone);
    }
    let mut lower = [0u8; 11];
    let lower = lower.get_mut(..word.len())?;
    lower.iter_mut().zip(word).for_each(|(place, b)| *place = b.to_ascii_lowercase());
    Some(match &*lower {
        b"phone" | b"telephone" | b"phones" | b"tel" | b"mobile" | b"cell" | b"cellphone" | b"call" | b"calling" | b"fax"
        | b"whatsapp" | b"sms" | b"dial" | b"reach" | b"text" | b"ring" | b"contact" | b"hotline" | b"telefon" | b"telefono"
        | b"telefone" | b"handy" | b"movil" | b"celular" | b"portable" | b"mobil" | b"landline" | b"phonenumber" | b"msisdn"
        | b"mob" | b"ph" => Topic::Phone,
        b"ssn" | b"ssns" | b"social" => Topic::Ssn,
        b"order" | b"invoice" | b"isbn" | b"version" | b"ver" | b"reference" | b"ref" | b"ticket" | b"tracking" | b"account"
        | b"commit" | b"build" | b"serial" | b"sku" | b"amount" | b"usd" | b"eur" | b"total" | b"issue" | b"pr" | b"timestamp"
        | b"date" | b"port" | b"error" | b"code" | b"case" | b"zip" | b"passport" | b"iban" | b"card" | b"license"
        | b"licence" | b"vat" | b"tax" | b"id" | b"npi" | b"mrn" | b"routing" | b"model" | b"part" | b"item" | b"batch"
        | b"section" => Topic::Other,
        _ => return None,
    })
}

/// `homePhone`, `phoneNumber`.
fn camel(word: &[u8], part: &[u8]) -> bool {
    word.len() > part.len()
        && (word.ends_with(part) || word.get(..part.len()).is_some_and(|head| head.eq_ignore_ascii_case(part)))
}

/// Whether one of `phrases` ends right before `at`, but for what joins a name to its value: spaces, `:`, `=`, `#`, quotes, "is",
/// "number", "no.". Phrases are lower case and begin at a word.
pub(super) fn named(input: &Input<'_>, at: usize, phrases: &[&str]) -> bool {
    let mut left = input.left(at, 64);
    for _ in 0..4 {
        let gap = left.iter().rev().take(6).take_while(|b| joins(**b)).count();
        left = left.get(..left.len() - gap).unwrap_or_default();
        if phrases.iter().any(|phrase| ends_with_word(left, phrase)) {
            return true;
        }
        let Some(filler) = ["is", "number", "num", "no", "was", "code", "id"].iter().find(|word| ends_with_word(left, word))
        else {
            return false;
        };
        left = left.get(..left.len() - filler.len()).unwrap_or_default();
    }
    false
}

fn joins(b: u8) -> bool {
    matches!(b, b' ' | b':' | b'=' | b'#' | b'"' | b'\'' | b'.' | b'(' | b'_' | b'-' | b'\t' | 0x1D)
}

fn ends_with_word(left: &[u8], word: &str) -> bool {
    // Nearly all differ in their last letter.
    if !matches!((left.last(), word.as_bytes().last()), (Some(a), Some(b)) if same_letter(*a, *b)) {
        return false;
    }
    let Some(start) = left.len().checked_sub(word.len()) else { return false };
    let same = left.get(start..).unwrap_or_default().iter().zip(word.as_bytes()).all(|(a, b)| same_letter(*a, *b));
    same && !start.checked_sub(1).and_then(|i| left.get(i)).is_some_and(u8::is_ascii_alphanumeric)
}

/// A phrase's space also stands for `_` and `-`, as keys write it.
fn same_letter(text: u8, phrase: u8) -> bool {
    text.eq_ignore_ascii_case(&phrase) || phrase == b' ' && matches!(text, b'_' | b'-')
}
