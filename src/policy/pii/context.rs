//! The words to the left of a value: they decide whether digits are a telephone number, an invoice or a year. Nothing ever looks
//! to the right, which would hold a stream back.

use super::matching::Input;

/// What the nearest telling word to the left speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Phone,
    Ssn,
    /// A number of another sort: an order, a version, a date, an amount.
    Other,
}

/// Scripts without spaces between words, and words whose first letters ASCII does not hold.
const PHONE_ELSEWHERE: &[&str] =
    &["电话", "手机", "電話", "携帯", "전화", "휴대폰", "연락처", "телефон", "тел.", "téléphone", "teléfono", "tél", "móvil"];
/// The topic a word speaks of.
#[rustfmt::skip]
fn spoken(word: &[u8]) -> Option<Topic> {
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

/// The topic of the nearest telling word within 40 bytes to the left.
pub(super) fn topic(input: &Input<'_>, at: usize) -> Option<Topic> {
    let left = input.left(at, 40);
    let ascii = left.is_ascii();
    // A word cut by the edge of the window is not read.
    let mut end = left.len();
    while end > 0 {
        let stop = left.get(..end)?.iter().rposition(u8::is_ascii_alphabetic).map(|i| i + 1)?;
        let start = left.get(..stop)?.iter().rposition(|b| !b.is_ascii_alphabetic()).map_or(0, |i| i + 1);
        let word = left.get(start..stop)?;
        if start > 0 || left.len() < 40 {
            if camel(word, b"Phone") || camel(word, b"Mobile") {
                return Some(Topic::Phone);
            }
            if let Some(topic) = spoken(word) {
                return Some(topic);
            }
        }
        if !ascii && PHONE_ELSEWHERE.iter().any(|w| between(left, stop, end, w)) {
            return Some(Topic::Phone);
        }
        end = start;
    }
    (!ascii && PHONE_ELSEWHERE.iter().any(|w| holds(left, w.as_bytes()))).then_some(Topic::Phone)
}

fn between(left: &[u8], stop: usize, end: usize, word: &str) -> bool {
    left.get(stop..end).is_some_and(|part| holds(part, word.as_bytes()))
}

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
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
