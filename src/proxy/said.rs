//! What a caller has seen of a stream, kept so that another target can be asked to go on with it.

use crate::openai::chunk::{AnswerChannel, AnswerKind};
use std::ops::Range;

/// Text beyond this is not gone on with, in bytes.
const MAX_SAID: usize = 1 << 20;

/// The content of the first choice, as far as it left.
#[derive(Debug, Default)]
pub struct Said {
    raw: String,
    seen: String,
    /// Something left that no assistant prefix can carry: a tool call, a second choice, a refusal.
    beyond: bool,
}

impl Said {
    /// The channel that can be gone on with.
    pub const CHANNEL: AnswerChannel = AnswerChannel { choice: 0, kind: AnswerKind::Content };

    /// A piece of text left, with some of its ranges (ascending, disjoint) replaced.
    pub fn add<'e>(&mut self, channel: AnswerChannel, text: &str, edits: impl Iterator<Item = (Range<usize>, &'e str)>) {
        match channel {
            _ if text.is_empty() => {}
            Self::CHANNEL if self.raw.len() + text.len() <= MAX_SAID => {
                self.raw.push_str(text);
                let mut copied = 0;
                for (range, with) in edits {
                    self.seen.push_str(text.get(copied..range.start).unwrap_or_default());
                    self.seen.push_str(with);
                    copied = range.end;
                }
                self.seen.push_str(text.get(copied..).unwrap_or_default());
            }
            // What was thought before the answer began is no part of it.
            AnswerChannel { choice: 0, kind: AnswerKind::Reasoning | AnswerKind::ReasoningContent } if self.raw.is_empty() => {}
            _ => self.beyond = true,
        }
    }

    /// As the provider wrote it.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// As the caller saw it, and as another provider may see it.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// Whether there is something to go on with, and nothing else.
    pub fn can_go_on(&self) -> bool {
        !self.seen.is_empty() && !self.beyond
    }
}
