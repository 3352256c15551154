//! The strings of an answer that are grammar or opaque data instead of text, and so are not judged.

use crate::openai::request::{is_base64, is_data_url, is_name};

/// Members whose value is a word of the protocol, wherever they stand except in arguments. A value counts only if it looks like
/// a name ([`is_name`]): a sentence or an address hidden in one is still judged.
pub const STRUCTURAL: &[&str] =
    &["role", "type", "id", "name", "tool_call_id", "call_id", "format", "channel", "status", "object", "phase"];

/// Members whose value is data without words in it, wherever they stand except in arguments: sound and pictures, signatures,
/// sealed reasoning. A value counts only if it is base64. `data:` URLs of media count under any name.
pub const OPAQUE: &[&str] = &["data", "b64_json", "signature", "thought_signature", "encrypted_content"];

/// A string that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silent {
    /// A word of the protocol.
    Grammar,
    /// Data nobody here can read, and what it is: `image`, `audio`, `file`, `sealed`.
    Data(&'static str),
}

impl Silent {
    /// What `value` under `name` is, unless it is a text.
    pub fn of(name: &str, value: &str) -> Option<Self> {
        if STRUCTURAL.contains(&name) && is_name(value) {
            Some(Silent::Grammar)
        } else if OPAQUE.contains(&name) && is_opaque(value) {
            Some(Silent::Data(match name {
                "data" => "audio",
                "b64_json" => "image",
                _ => "sealed",
            }))
        } else if is_data_url(value) {
            Some(Silent::Data(match value {
                _ if value.starts_with("data:image/") => "image",
                _ if value.starts_with("data:audio/") => "audio",
                _ => "file",
            }))
        } else {
            None
        }
    }
}

/// Base64 in whole or in part. Long digits alone could be a number with a meaning.
fn is_opaque(value: &str) -> bool {
    is_base64(value) && (value.len() <= 6 || value.bytes().any(|byte| byte.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_posing_as_grammar_is_text() {
        for (name, value) in [("role", "assistant"), ("name", "get_weather"), ("signature", "QUJD+/=="), ("data", "QUJD")] {
            assert!(Silent::of(name, value).is_some(), "{name}: {value}");
        }
        for (name, value) in [("role", "my name is Ada"), ("name", "a@b.example"), ("signature", "123-45-6789"), ("text", "QUJD")]
        {
            assert_eq!(Silent::of(name, value), None, "{name}: {value}");
        }
        assert_eq!(Silent::of("url", "data:image/png;base64,iVBORw0KGgo="), Some(Silent::Data("image")));
        assert_eq!(Silent::of("url", "data:image/png,ada"), None);
    }
}
