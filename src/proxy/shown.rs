//! What records and logs show of texts that callers and providers choose: a bounded piece, without what is secret in it.
//!
//! Prompts and answers are shown nowhere. But a model's or a tool's name, a user's id, a request id are written down, and nobody
//! keeps a caller from putting a key there.

use crate::policy::pii::{PiiDetector, PiiSettings};
use std::borrow::Cow;
use std::sync::LazyLock;

/// The longest text that is shown, in characters.
const LONGEST: usize = 256;
/// How far a long text is looked at, in bytes, and how far no detector sees beyond.
const LOOKED_AT: usize = 8 << 10;
const SIGHT: usize = 512;
/// What nobody is called.
const SECRETS: [&str; 5] = ["secret", "credit_card", "iban", "ssn", "cvv"];

/// Who someone is: a user, a team, a conversation. An address is a name here.
pub fn identity(text: &str) -> String {
    shown(text, &|what| SECRETS.contains(&what))
}

/// What something is called: a model, a tool, a client.
pub fn name(text: &str) -> String {
    shown(text, &|what| SECRETS.contains(&what) || what == "email")
}

/// Whether a text holds something that [`identity`] would not show.
pub fn is_clean(text: &str) -> bool {
    DETECTOR.as_ref().is_some_and(|detector| detector.find(text).iter().all(|found| !SECRETS.contains(&found.what)))
}

static DETECTOR: LazyLock<Option<PiiDetector>> = LazyLock::new(|| PiiDetector::new(PiiSettings::default()).ok());

fn shown(text: &str, hides: &dyn Fn(&str) -> bool) -> String {
    let text = text.get(..text.floor_char_boundary(LOOKED_AT)).unwrap_or_default();
    let text = match &*DETECTOR {
        Some(detector) => without(text, detector, hides),
        None => Cow::Borrowed(""),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text.into_owned(),
    }
}

/// Looks before anything is cut: half a key is no key any more, and still half of it.
fn without<'t>(text: &'t str, detector: &PiiDetector, hides: &dyn Fn(&str) -> bool) -> Cow<'t, str> {
    let found = detector.find(text);
    // What may be cut short itself is not shown.
    let text = if text.len() + 4 > LOOKED_AT {
        text.get(..text.floor_char_boundary(LOOKED_AT - SIGHT)).unwrap_or_default()
    } else {
        text
    };
    if found.iter().all(|found| !hides(found.what)) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for found in found.iter().filter(|found| hides(found.what) && found.range.start < text.len()) {
        out.push_str(text.get(copied..found.range.start).unwrap_or_default());
        out.push_str(&format!("[{}_REDACTED]", found.what.to_ascii_uppercase()));
        copied = found.range.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In parts, for scanners that read source files.
    fn key() -> String {
        format!("sk-proj-{}", "Zx81Qw7nKp02Lm5vT4sYbR9cXe3HgJ6d")
    }

    #[test]
    fn ordinary_names_are_shown_as_they_are() {
        for text in ["gpt-4o-2024-08-06", "llama3.3-70b", "OpenAI/Python 2.8.1", "conv_5j66UpCpwteGg4YSxUnt7lPY", "team a", ""] {
            assert_eq!(name(text), text);
            assert_eq!(identity(text), text);
        }
        assert_eq!(identity("jane@example.com"), "jane@example.com");
        assert_eq!(name("jane@example.com"), "[EMAIL_REDACTED]");
    }

    #[test]
    fn a_key_is_shown_nowhere_not_even_cut() {
        let text = format!("{} {}", "m".repeat(LONGEST - 10), key());
        assert!(name(&text).ends_with("m [SECRET_R"), "{}", name(&text));
        assert_eq!(identity(&format!("for 4111 1111 1111 1111, {}", key())), "for [CREDIT_CARD_REDACTED], [SECRET_REDACTED]");
        assert!(!is_clean(&key()) && is_clean("req-1"));
    }
}
