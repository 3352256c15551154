//! Reads one answer object, a stream chunk or a whole answer: its text channels, its usage, its end.

use std::borrow::Cow;
use std::ops::Range;

/// One text channel of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnswerChannel {
    /// `choices[].index`
    pub choice: u32,
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
    Refusal,
    /// `tool_calls[index].function.arguments`
    Arguments(u32),
    /// `function_call.arguments`
    FunctionArguments,
}

/// A piece of one channel's text in one object.
#[derive(Debug, Clone)]
pub struct Delta<'a> {
    pub channel: AnswerChannel,
    /// Byte range in the JSON of what stands between the quotes.
    pub raw: Range<usize>,
    /// Decoded text, borrowed unless it holds escapes.
    pub text: Cow<'a, str>,
}

/// Token counts as the provider reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cached_tokens: u64,
    pub reasoning_tokens: u64,
}
