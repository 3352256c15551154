//! What a caller has seen of a stream, kept so that another target can be asked to go on with it.

use crate::openai::chunk::{AnswerChannel, AnswerKind};
use std::ops::Range;

/// Text beyond this is not gone on with, in bytes.
const MAX_SAID: usize = 1 << 20;

/// Members, with their quotes, that begin a call.
const CALLS: [&[u8]; 2] = [b"\"tool_calls\"", b"\"function_call\""];

/// The content of the first choice, as far as it left.
#[derive(Debug, Default)]
pub struct Said {
    raw: String,
    sent: String,
    /// Something left that no assistant prefix can carry: a tool call, a second choice, a refusal.
    beyond: bool,
}

impl Said {
    /// The channel that can be gone on with.
    pub const CHANNEL: AnswerChannel = AnswerChannel { choice: 0, kind: AnswerKind::Content };

    /// A piece of text left, with some of its ranges (ascending, disjoint) redacted. What was restored stays as it came.
    pub fn add<'e>(&mut self, channel: AnswerChannel, text: &str, edits: impl Iterator<Item = (Range<usize>, &'e str)>) {
        match channel {
            _ if text.is_empty() => {}
            Self::CHANNEL if self.raw.len() + text.len() <= MAX_SAID => {
                self.raw.push_str(text);
                let mut copied = 0;
                for (range, with) in edits {
                    self.sent.push_str(text.get(copied..range.start).unwrap_or_default());
                    self.sent.push_str(with);
                    copied = range.end;
                }
                self.sent.push_str(text.get(copied..).unwrap_or_default());
            }
            // What was thought before the answer began is no part of it.
            AnswerChannel { choice: 0, kind: AnswerKind::Reasoning | AnswerKind::ReasoningContent } if self.raw.is_empty() => {}
            _ => self.beyond = true,
        }
    }

    /// An object left. A tool call may begin without any text: with its name alone.
    pub fn look_at(&mut self, json: &[u8]) {
        self.beyond |= CALLS.iter().any(|name| has_member(json, name));
    }

    /// As the provider wrote it.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// As another provider may see it: without what was taken out of it, and with tokens where the caller saw their values.
    pub fn sent(&self) -> &str {
        &self.sent
    }

    /// Whether there is something to go on with, and nothing else.
    pub fn can_go_on(&self) -> bool {
        !self.sent.is_empty() && !self.beyond
    }
}

/// Whether an object has a member of this name somewhere, with a value that is neither null nor an empty array.
fn has_member(json: &[u8], name: &[u8]) -> bool {
    memchr::memmem::find_iter(json, name).any(|at| {
        let mut value = json.iter().skip(at + name.len()).filter(|byte| !byte.is_ascii_whitespace());
        let begins = (value.next(), value.next(), value.next());
        matches!(begins, (Some(b':'), Some(first), next) if *first != b'n' && (*first, next) != (b'[', Some(&b']')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[(AnswerKind, &str)]) -> Said {
        let mut said = Said::default();
        for (kind, text) in pieces {
            said.add(AnswerChannel { choice: 0, kind: *kind }, text, std::iter::empty());
        }
        said
    }

    #[test]
    fn text_can_be_gone_on_with_and_so_can_thoughts_before_it() {
        assert!(said(&[(AnswerKind::Content, "Once")]).can_go_on());
        assert!(said(&[(AnswerKind::Reasoning, "hm"), (AnswerKind::Content, "Once")]).can_go_on());
        assert!(!said(&[(AnswerKind::Reasoning, "hm")]).can_go_on());
        assert!(!said(&[(AnswerKind::Content, "Once"), (AnswerKind::Reasoning, "hm")]).can_go_on());
        assert!(!said(&[(AnswerKind::Content, "Once"), (AnswerKind::Refusal, "No")]).can_go_on());
        assert!(!said(&[]).can_go_on());
    }

    #[test]
    fn nothing_is_gone_on_with_beyond_what_is_kept() {
        let long = "x".repeat(MAX_SAID);
        assert!(said(&[(AnswerKind::Content, &long)]).can_go_on());
        assert!(!said(&[(AnswerKind::Content, &long), (AnswerKind::Content, "y")]).can_go_on());
    }

    #[test]
    fn what_was_replaced_is_kept_both_ways() {
        let mut said = Said::default();
        said.add(Said::CHANNEL, "to jane@x.org now", [(3..13, "[EMAIL]")].into_iter());
        assert_eq!((said.raw(), said.sent()), ("to jane@x.org now", "to [EMAIL] now"));
    }

    #[test]
    fn a_call_has_begun_with_its_name_alone() {
        let calls =
            [r#"{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}}"#, r#"{"function_call" : {"name":"f"}}"#];
        let none =
            [r#"{"tool_calls":null}"#, r#"{"tool_calls": [ ]}"#, r#"{"content":"\"tool_calls\":[1]"}"#, r#"{"tool_calls""#];
        for (json, begun) in calls.iter().map(|c| (c, true)).chain(none.iter().map(|n| (n, false))) {
            let mut said = said(&[(AnswerKind::Content, "Once")]);
            said.look_at(json.as_bytes());
            assert_eq!(said.can_go_on(), !begun, "{json}");
        }
    }
}
