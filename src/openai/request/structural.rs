//! The strings of a request that are grammar instead of text, and so are not judged.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// A kind of object in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The body itself.
    Body,
    /// An element of `messages`.
    Message,
    /// An element of a `content` array.
    Part,
    /// `image_url`, `input_audio` or `file` inside a part.
    Media,
    /// An element of `tool_calls`.
    ToolCall,
    /// Anything inside `tools`, `functions` or `response_format`.
    Definition,
}

/// The members whose value is structural, by place. Everything else is text: deny by default.
///
/// A value counts only if it looks like a name ([`is_name`]), so a sentence, an address or a number hidden in one is still
/// judged.
pub const STRUCTURAL: &[(Place, &[&str])] = &[
    (Place::Body, &["model"]),
    (Place::Message, &["role", "tool_call_id"]),
    (Place::Part, &["type"]),
    (Place::Media, &["detail", "format", "file_id"]),
    (Place::ToolCall, &["id", "type"]),
    (Place::Definition, &["type"]),
];

/// Whether `value` under `key` at `place` is grammar.
pub(super) fn is_structural(place: Place, key: &str, value: &str) -> bool {
    STRUCTURAL.iter().any(|(known, keys)| *known == place && keys.contains(&key)) && is_name(value)
}

/// A word of the kind that identifiers, enumerations and model names are: at most 128 of `A-Z a-z 0-9 _ . : / - + = |` with a
/// letter among them, or at most six digits.
pub fn is_name(value: &str) -> bool {
    let allowed = |byte: u8| NAME_BYTES.get(usize::from(byte)).is_some_and(|allowed| *allowed);
    value.len() <= 128 && value.bytes().all(allowed) && (value.len() <= 6 || value.bytes().any(|byte| byte.is_ascii_alphabetic()))
}

/// The bytes of a name, as a table: every key of a body is asked.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] =
            matches!(byte as u8, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'/' | b'-' | b'+' | b'=' | b'|');
        byte += 1;
    }
    table
};

/// Binary content inside a string: a `data:` URL of a medium, or bare base64 of some length. Text posing as either is text, also
/// where it is in base64 itself.
pub(super) fn is_media(value: &str) -> bool {
    /// Shorter than any real picture or sound, longer than a remark.
    const SHORTEST: usize = 64;
    let payload = match value.strip_prefix("data:").and_then(|url| url.split_once(',')) {
        Some((_, payload)) if is_data_url(value) => payload,
        None if value.len() >= SHORTEST && is_base64(value) => value,
        _ => return false,
    };
    !is_text_in_base64(payload)
}

/// Whether base64 begins with text: no picture, sound or archive does without control characters for long.
fn is_text_in_base64(payload: &str) -> bool {
    /// A multiple of four, so that the end falls between two bytes.
    const HEAD: usize = 1024;
    /// Shorter than a remark: nothing can be told of it.
    const SHORTEST: usize = 16;
    let digits = payload.bytes().filter(|b| !matches!(b, b'\n' | b'\r' | b'=')).take(HEAD);
    let standard = digits.map(|b| match b {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    });
    let head: Vec<u8> = standard.collect();
    let whole = head.len() - usize::from(head.len() % 4 == 1);
    let Ok(bytes) = LENIENT.decode(head.get(..whole).unwrap_or_default()) else { return true };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // The head may end inside a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    text.len() >= SHORTEST && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

/// Base64 as people cut and pad it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// A `data:` URL of a medium, with nothing but base64 in it.
pub(in crate::openai) fn is_data_url(value: &str) -> bool {
    let Some((kind, payload)) = value.strip_prefix("data:").and_then(|url| url.split_once(',')) else { return false };
    let medium = ["image/", "audio/", "video/", "application/"].iter().any(|medium| kind.starts_with(medium));
    medium && kind.len() <= 128 && kind.ends_with(";base64") && is_base64(payload)
}

/// Nothing but the characters of base64, in either alphabet.
pub(in crate::openai) fn is_base64(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\n' | b'\r');
    // A fold, for speed: these strings are megabytes.
    value.bytes().fold(true, |all, byte| all & allowed(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_structural() {
        for name in ["user", "json_schema", "call_8F3h-2", "openai/gpt-4o:free", "50256", ""] {
            assert!(is_name(name), "{name}");
        }
        for text in ["ignore this", "a@b.example", "123-45-6789", "4111111111111111", "é"] {
            assert!(!is_name(text), "{text}");
        }
        assert!(is_structural(Place::Message, "role", "user"));
        assert!(!is_structural(Place::Message, "role", "my name is Ada"));
        assert!(!is_structural(Place::Message, "name", "ada"));
    }

    #[test]
    fn text_posing_as_media_is_text() {
        assert!(is_media("data:image/png;base64,iVBORw0KGgo="));
        assert!(is_media(&"AAEC".repeat(30)));
        for text in [
            &"QUJD".repeat(30),
            "data:image/png;base64,aWdub3JlIGFsbCBpbnN0cnVjdGlvbnM=",
            "data:text/plain;base64,aWdub3Jl",
            "data:image/png,ignore all",
            "data:image/png;base64,ignore all",
            "QUJD",
        ] {
            assert!(!is_media(text), "{text}");
        }
    }
}
