//! A borrowed view of a request body: the few fields the gateway acts on and every text channel a policy must read.

mod continuation;
mod members;
mod message;
mod outline;
mod parameters;
mod scan;
mod structural;

pub use continuation::Prefix;
pub use members::Members;
pub use outline::Outline;
pub use structural::{Place, STRUCTURAL, is_name};
pub(super) use structural::{is_base64, is_data_url};

use super::edit::Splice;
use super::json::{Offsets, encode};
use crate::refusal::Refusal;
use std::borrow::Cow;
use std::ops::Range;

/// Non-empty texts a request may have. More is refused: each costs some ninety bytes, which a body of tiny strings would
/// multiply by twenty.
pub const MAX_TEXTS: usize = 1 << 17;

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

impl Endpoint {
    /// The member that every request to this endpoint must have.
    pub fn input(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "messages",
            Endpoint::Completions => "prompt",
            Endpoint::Embeddings => "input",
        }
    }
}

/// Who wrote a text. Roles the API does not know count as the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `system` and `developer`: the operator.
    System,
    /// `user`, and any role the API does not know.
    User,
    /// `assistant`: earlier answers.
    Assistant,
    /// `tool` and `function`: results, which a third party may have written.
    Tool,
}

impl Role {
    /// The role a message names.
    fn named(word: &str) -> Self {
        match word {
            "system" | "developer" => Role::System,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => Role::User,
        }
    }
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
    /// Who wrote it.
    pub role: Role,
    /// Where it stands.
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

/// What stands under `stream_options`, as far as asking for usage needs to know. Offsets into the body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StreamOptions {
    /// Nothing.
    #[default]
    Absent,
    /// `null`, there.
    Null(Range<usize>),
    /// An object without members, whose inside begins there.
    Empty(usize),
    /// An object without `include_usage`, whose first member comes after there.
    Others(usize),
    /// An object with `include_usage`, whose value is there.
    Usage(Range<usize>),
}

/// A view of one request body.
#[derive(Debug, Clone)]
pub struct Prompt<'a> {
    /// Where it was sent.
    pub endpoint: Endpoint,
    /// The bytes as they came.
    pub body: &'a [u8],
    /// `model` with the byte range of its value, quotes included.
    pub model: Option<(Cow<'a, str>, Range<usize>)>,
    /// `stream` is true.
    pub stream: bool,
    /// The caller asked for `stream_options.include_usage`.
    pub include_usage: bool,
    /// Where [`Outline::with_usage`] writes.
    pub stream_options: StreamOptions,
    /// The most tokens the answer may have: `max_completion_tokens`, else `max_tokens`; a fraction falls. `None` when neither is a
    /// count.
    pub max_tokens: Option<u64>,
    /// Where its top-level members lie.
    pub members: Members,
    /// Every string the provider would read, in body order, empty and [`STRUCTURAL`] ones excepted. Keys that are more than a
    /// name ([`is_name`]) are among them.
    pub texts: Vec<Text<'a>>,
    /// What the chain cannot read, for the record's coverage: `image`, `audio`, `file`, `token_ids`. Sorted, distinct.
    pub unscanned: Vec<&'static str>,
    /// Names of the tools offered.
    pub tools: Vec<Cow<'a, str>>,
}

impl<'a> Prompt<'a> {
    /// Reads a body, strictly, in one pass.
    ///
    /// # Errors
    /// 400 that names the byte offset or the path: not UTF-8 or not JSON (`invalid_json`), nested too deep (`too_deep`), a key
    /// twice in one object (`duplicate_key`), or not a request of this endpoint (`invalid_request`).
    pub fn read(endpoint: Endpoint, body: &'a [u8]) -> Result<Self, Refusal> {
        Ok(scan::scan(endpoint, body)?)
    }

    /// What is kept of it once it was judged.
    pub fn outline(&self) -> Outline {
        Outline::of(self)
    }
}

impl Text<'_> {
    /// Replaces a byte range of the decoded value; `with` is in decoded terms too. A border inside a character moves outwards.
    pub fn splice(&self, prompt: &Prompt<'_>, range: Range<usize>, with: &str) -> Splice {
        Splice::new(self.locate(&mut self.offsets(prompt), range), encode(with))
    }

    /// [`Text::splice`] for many ranges, ascending and disjoint, in one pass over the text.
    pub fn splices<'e>(&self, prompt: &Prompt<'_>, edits: impl IntoIterator<Item = (Range<usize>, &'e str)>) -> Vec<Splice> {
        let mut offsets = self.offsets(prompt);
        edits.into_iter().map(|(range, with)| Splice::new(self.locate(&mut offsets, range), encode(with))).collect()
    }

    fn offsets<'b>(&self, prompt: &Prompt<'b>) -> Offsets<'b> {
        Offsets::new(prompt.body.get(self.raw.clone()).unwrap_or_default())
    }

    fn locate(&self, offsets: &mut Offsets<'_>, decoded: Range<usize>) -> Range<usize> {
        let range = offsets.range(decoded);
        self.raw.start + range.start..self.raw.start + range.end
    }
}

#[cfg(test)]
mod tests;
