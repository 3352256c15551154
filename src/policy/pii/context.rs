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

#[rustfmt::skip]
const PHONE: &[&str] = &[
    "phone", "telephone", "phones", "tel", "mobile", "cell", "cellphone", "call", "calling", "fax", "whatsapp", "sms", "dial",
    "reach", "text", "ring", "contact", "hotline", "telefon", "telefono", "telefone", "handy", "movil", "celular", "portable",
    "mobil", "landline", "phonenumber", "msisdn", "mob", "ph",
];
/// Scripts without spaces between words, and words whose first letters ASCII does not hold.
const PHONE_ELSEWHERE: &[&str] =
    &["电话", "手机", "電話", "携帯", "전화", "휴대폰", "연락처", "телефон", "тел.", "téléphone", "teléfono", "tél", "móvil"];
const SSN: &[&str] = &["ssn", "ssns", "social"];
#[rustfmt::skip]
const OTHER: &[&str] = &[
    "order", "invoice", "isbn", "version", "ver", "reference", "ref", "ticket", "tracking", "account", "commit", "build",
    "serial", "sku", "amount", "usd", "eur", "total", "issue", "pr", "timestamp", "date", "port", "error", "code", "case",
    "zip", "passport", "iban", "card", "license", "licence", "vat", "tax", "id", "npi", "mrn", "routing", "model", "part",
    "item", "batch", "section",
];

/// The topic of the nearest telling word within 40 bytes to the left.
pub(super) fn topic(input: &Input<'_>, at: usize) -> Option<Topic> {
    let left = input.left(at, 40);
    // A word cut by the edge of the window is not read.
    let mut end = left.len();
    while end > 0 {
        let stop = left.get(..end)?.iter().rposition(u8::is_ascii_alphabetic).map(|i| i + 1)?;
        let start = left.get(..stop)?.iter().rposition(|b| !b.is_ascii_alphabetic()).map_or(0, |i| i + 1);
        let word = left.get(start..stop)?;
        if start > 0 || left.len() < 40 {
            let is = |list: &[&str]| list.iter().any(|w| word.eq_ignore_ascii_case(w.as_bytes()));
            if is(PHONE) || camel(word, b"Phone") || camel(word, b"Mobile") {
                return Some(Topic::Phone);
            }
            if is(SSN) {
                return Some(Topic::Ssn);
            }
            if is(OTHER) {
                return Some(Topic::Other);
            }
        }
        if PHONE_ELSEWHERE.iter().any(|w| between(left, stop, end, w)) {
            return Some(Topic::Phone);
        }
        end = start;
    }
    PHONE_ELSEWHERE.iter().any(|w| holds(left, w.as_bytes())).then_some(Topic::Phone)
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
    let Some(start) = left.len().checked_sub(word.len()) else { return false };
    let same = left.get(start..).unwrap_or_default().iter().zip(word.as_bytes()).all(|(a, b)| same_letter(*a, *b));
    same && !start.checked_sub(1).and_then(|i| left.get(i)).is_some_and(u8::is_ascii_alphanumeric)
}

/// A phrase's space also stands for `_` and `-`, as keys write it.
fn same_letter(text: u8, phrase: u8) -> bool {
    text.eq_ignore_ascii_case(&phrase) || phrase == b' ' && matches!(text, b'_' | b'-')
}
