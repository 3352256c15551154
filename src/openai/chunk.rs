//! Reads one answer object, a stream chunk or a whole answer: its text channels, its usage, its end.
//!
//! Answers are read tolerantly: any order, unknown members, nulls, a key or a choice twice (then both texts are seen).
//!
//! Every string inside a choice's `delta`, `message` or `text` belongs to a channel, in whatever shape it comes, and so do keys
//! that are more than a name. Not channels, and so passed unread:
//!
//! - words of the grammar, listed in [`STRUCTURAL`], and data no policy could read, listed in [`OPAQUE`];
//! - what repeats the text, the [`Echo`]es, which are nulled where it changes;
//! - numbers;
//! - what stands beside the text: the other members of a choice and those of the answer. The provider writes them, not the
//!   model. That holds for the message of an `error` inside a stream, too: it is relayed as it came.

mod grammar;
mod message;
mod path;
mod role;
mod scan;

pub use grammar::{OPAQUE, STRUCTURAL};

use super::edit::Splice;
use super::json::{JsonError, Offsets, encode};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

/// Pieces of text one object may have. No answer comes near it; each may be a channel of its own, with its own watches.
pub const MAX_DELTAS: usize = 1 << 14;

/// One text channel of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnswerChannel {
    /// `choices[].index`
    pub choice: u32,
    /// What the channel carries.
    pub kind: AnswerKind,
}

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnswerKind {
    /// `content` as a string (or text parts), or `text` of a completion.
    Content,
    /// `reasoning`
    Reasoning,
    /// `reasoning_content`
    ReasoningContent,
    /// `refusal`
    Refusal,
    /// `tool_calls[index].function.arguments`
    Arguments(u32),
    /// `function_call.arguments`
    FunctionArguments,
    /// `tool_calls[index].custom.input`
    Input(u32),
    /// Any other string. The number stands for its path from `delta` or `message` (a hash of member names and indices), so that
    /// chunk after chunk a text keeps its channel.
    Other(u32),
}

impl AnswerKind {
    /// The word records use; calls have one for all of their inputs.
    pub fn as_str(self) -> &'static str {
        match self {
            AnswerKind::Content => "content",
            AnswerKind::Reasoning | AnswerKind::ReasoningContent => "reasoning",
            AnswerKind::Refusal => "refusal",
            AnswerKind::Arguments(_) | AnswerKind::FunctionArguments | AnswerKind::Input(_) => "arguments",
            AnswerKind::Other(_) => "other",
        }
    }

    /// Part of a tool call: calls may run side by side, each with its own text.
    pub fn is_call(self) -> bool {
        matches!(self, AnswerKind::Arguments(_) | AnswerKind::Input(_))
    }
}

/// A piece of one channel's text in one object.
#[derive(Debug, Clone)]
pub struct Delta<'a> {
    /// The channel it continues.
    pub channel: AnswerChannel,
    /// Byte range in the JSON of what stands between the quotes.
    pub raw: Range<usize>,
    /// Decoded text, borrowed unless it holds escapes.
    pub text: Cow<'a, str>,
}

/// Token counts as the provider reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// `prompt_tokens`
    pub input_tokens: u64,
    /// `completion_tokens`
    pub output_tokens: u64,
    /// `prompt_tokens_details.cached_tokens`, part of the input.
    pub cached_tokens: u64,
    /// `completion_tokens_details.reasoning_tokens`, part of the output.
    pub reasoning_tokens: u64,
}

/// Whether an object has choices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choices {
    /// No `choices`, or not an array.
    #[default]
    Absent,
    /// `choices: []`
    Empty,
    /// At least one.
    Some,
}

/// A part of a choice that repeats its text in a form that cannot be edited: `logprobs`, `reasoning_logprobs`, `tokens`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// `choices[].index`
    pub choice: u32,
    /// Byte range of its value, which is not null.
    pub value: Range<usize>,
}

/// One replaced range of one delta; see [`Chunk::splices`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaEdit<'e> {
    /// Index into [`Chunk::deltas`].
    pub delta: usize,
    /// Byte range in its decoded text.
    pub range: Range<usize>,
    /// What takes its place, in decoded terms (for arguments: JSON source).
    pub with: &'e str,
}

/// An answer object that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but not an object.
    #[error("the answer is not a JSON object")]
    NotAnObject,
    /// More than [`MAX_DELTAS`] pieces of text.
    #[error("the answer holds more strings than the gateway reads")]
    TooManyDeltas,
}

/// A view of one answer object.
#[derive(Debug, Clone, Default)]
pub struct Chunk<'a> {
    /// The object's source.
    pub json: &'a str,
    /// The pieces of text, in order.
    pub deltas: Vec<Delta<'a>>,
    /// `usage`; `None` for null.
    pub usage: Option<Usage>,
    /// Whether there are choices.
    pub choices: Choices,
    /// The choices that end here: index and `finish_reason`.
    pub finish: Vec<(u32, Cow<'a, str>)>,
    /// `id`
    pub id: Option<Cow<'a, str>>,
    /// `model`
    pub model: Option<Cow<'a, str>>,
    /// There is an `error` that is not null.
    pub error: bool,
    /// What repeats the text of a choice.
    pub echoes: Vec<Echo>,
    /// Data in it that no policy could read, distinct: `image`, `audio`, `file`, `sealed`.
    pub unread: Vec<&'static str>,
}

impl<'a> Chunk<'a> {
    /// Reads one object in one pass.
    ///
    /// # Errors
    /// When `json` is not JSON, or not an object (`[DONE]`, say), or holds more than [`MAX_DELTAS`] strings.
    pub fn read(json: &'a [u8]) -> Result<Self, ChunkError> {
        scan::scan(json)
    }

    /// The extra chunk that `stream_options.include_usage` asks for: usage and no choice. Clients index `choices[0]`, so one that
    /// the caller did not ask for must not reach it.
    pub fn is_usage_only(&self) -> bool {
        self.choices == Choices::Empty && self.usage.is_some()
    }

    /// The splices of `json` that change the given texts and nothing else, but for the [`Echo`]es of the choices concerned, which
    /// become null. `edits` ascend by delta, then range, and are disjoint; one for a delta that is not there is ignored.
    pub fn splices(&self, edits: &[DeltaEdit<'_>]) -> Vec<Splice> {
        let mut splices = Vec::with_capacity(edits.len() + self.echoes.len());
        for edits in edits.chunk_by(|one, next| one.delta == next.delta) {
            let Some(delta) = edits.first().and_then(|edit| self.deltas.get(edit.delta)) else { continue };
            let raw = self.json.get(delta.raw.clone()).unwrap_or_default();
            let mut offsets = Offsets::new(raw.as_bytes());
            for edit in edits {
                let range = offsets.range(edit.range.clone());
                splices.push(Splice::new(delta.raw.start + range.start..delta.raw.start + range.end, encode(edit.with)));
            }
            for echo in self.echoes.iter().filter(|echo| echo.choice == delta.channel.choice) {
                let null = Splice::new(echo.value.clone(), "null");
                if !splices.contains(&null) {
                    splices.push(null);
                }
            }
        }
        splices
    }
}

/// Whether an object may report usage: a search, far cheaper than [`Chunk::read`], for streams that nobody watches. A `usage` key
/// spelled with escapes is missed.
pub fn may_hold_usage(json: &[u8]) -> bool {
    static USAGE: LazyLock<memchr::memmem::Finder<'static>> = LazyLock::new(|| memchr::memmem::Finder::new("\"usage\""));
    USAGE.find(json).is_some()
}

#[cfg(test)]
mod tests;
