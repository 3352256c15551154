//! A borrowed view of a request body: the few fields the gateway acts on and every text channel a policy must read.

use super::edit::Splice;
use crate::refusal::Refusal;
use std::borrow::Cow;
use std::ops::Range;

/// The request endpoints whose bodies the chain can read. Everything else under `/v1/` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
}

/// Who wrote a text. Roles the API does not know count as the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `system` and `developer`: the operator.
    System,
    User,
    Assistant,
    /// `tool` and `function`: results, which a third party may have written.
    Tool,
}

/// Which kind of place in the request a text stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Message content, as a string or a text part; also `prompt`, `input`, `suffix`, `prediction`.
    Content,
    /// An assistant message's `reasoning`, `reasoning_content` or `refusal`.
    Reasoning,
    /// Tool-call or function-call arguments: JSON inside a string ([`Text::json`]).
    Arguments,
    /// Tool and function definitions, response schemas.
    Definition,
    /// Any other string the provider would see: `user`, `metadata` values, message `name`, unknown fields.
    Other,
}

/// One string of the request.
#[derive(Debug, Clone)]
pub struct Text<'a> {
    pub role: Role,
    pub channel: Channel,
    /// Index of the message (or of the element of `prompt`/`input`); 0 outside.
    pub message: usize,
    /// Byte range in the body of what stands between the quotes.
    pub raw: Range<usize>,
    /// The decoded value: borrowed from the body unless it holds escapes. A lone surrogate reads as U+FFFD.
    pub text: Cow<'a, str>,
    /// The value is JSON source (tool-call arguments).
    pub json: bool,
}

/// A view of one request body.
#[derive(Debug, Clone)]
pub struct Prompt<'a> {
    pub endpoint: Endpoint,
    pub body: &'a [u8],
    /// `model` with the byte range of its value, quotes included.
    pub model: Option<(Cow<'a, str>, Range<usize>)>,
    /// `stream` is true.
    pub stream: bool,
    /// The caller asked for `stream_options.include_usage`.
    pub include_usage: bool,
    /// Every string the provider would read, in body order, structural ones excepted (`role`, `type`, `model`, `id`,
    /// `tool_call_id`, ...; the README lists them).
    pub texts: Vec<Text<'a>>,
    /// What the chain cannot read, for the record's coverage: `image`, `audio`, `file`, `token_ids`. Sorted, distinct.
    pub unscanned: Vec<&'static str>,
    /// Names of the tools offered.
    pub tools: Vec<Cow<'a, str>>,
}
