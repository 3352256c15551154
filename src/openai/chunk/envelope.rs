//! Makes a chunk that belongs to an answer under way: the text a watch held back needs one when the answer ends without it.

use super::{AnswerChannel, AnswerKind, Chunk, ENVELOPE, Shape};
use crate::openai::json::encode_into;
use std::fmt::Write;

/// What the chunks of one answer share. Saved from one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// The members of [`ENVELOPE`] as source, each with its comma.
    members: String,
    shape: Shape,
}

impl Envelope {
    pub(super) fn of(chunk: &Chunk<'_>) -> Self {
        let mut members = String::new();
        for (name, range) in ENVELOPE.iter().zip(&chunk.envelope) {
            if let Some(value) = range.clone().and_then(|range| chunk.json.get(range)) {
                // Writing to a String cannot fail. Line breaks could not stand in an event.
                let _ = write!(members, "\"{name}\":{},", value.replace(['\n', '\r'], " "));
            }
        }
        Self { members, shape: chunk.shape }
    }

    /// A minimal chunk that carries `text` on `channel` and ends nothing. A completion has only content, so `text` goes there.
    pub fn flush_json(&self, channel: AnswerChannel, text: &str) -> Vec<u8> {
        let AnswerChannel { choice, kind } = channel;
        let mut json = String::with_capacity(self.members.len() + text.len() + 128);
        let _ = write!(json, "{{{}\"choices\":[{{\"index\":{choice},", self.members);
        let (before, after) = match (self.shape, kind) {
            (Shape::Text, _) => ("\"text\":\"".into(), "\",\"logprobs\":null"),
            (_, AnswerKind::Content) => ("\"delta\":{\"content\":\"".into(), "\"}"),
            (_, AnswerKind::Reasoning) => ("\"delta\":{\"reasoning\":\"".into(), "\"}"),
            (_, AnswerKind::ReasoningContent) => ("\"delta\":{\"reasoning_content\":\"".into(), "\"}"),
            (_, AnswerKind::Refusal) => ("\"delta\":{\"refusal\":\"".into(), "\"}"),
            (_, AnswerKind::FunctionArguments) => ("\"delta\":{\"function_call\":{\"arguments\":\"".into(), "\"}}"),
            (_, AnswerKind::Arguments(index)) => {
                (format!("\"delta\":{{\"tool_calls\":[{{\"index\":{index},\"function\":{{\"arguments\":\""), "\"}}]}")
            }
        };
        json.push_str(&before);
        encode_into(text, &mut json);
        json.push_str(after);
        json.push_str(",\"finish_reason\":null}]}");
        json.into_bytes()
    }
}
