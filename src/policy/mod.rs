//! What judges a prompt before it leaves and an answer before it is released.
//!
//! A [`Policy`] sees the whole prompt at once. A [`Watch`] sees one answer channel as it arrives and says which part of it is
//! decided; the relay holds back exactly the events that are not. Streaming and whole answers use the same watches.

pub mod answer;
pub mod chain;
pub mod normalize;
pub mod pii;
pub mod prompt_injection;
pub mod restore;

use crate::openai::chunk::AnswerChannel;
use crate::openai::request::{Prompt, Text};
use prompt_injection::Explanation;
use restore::Restorer;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// The judgement in one word, weakest first: the strongest of a chain wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verdict {
    /// Nothing to say.
    #[default]
    Allow,
    /// Recorded and visible in a header; the request goes on.
    Warn,
    /// Goes on with parts replaced.
    Redact,
    /// Goes on, marked for a person to look at.
    Escalate,
    /// Refused.
    Block,
}

impl Verdict {
    /// The word used in headers, records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Warn => "warn",
            Verdict::Redact => "redact",
            Verdict::Escalate => "escalate",
            Verdict::Block => "block",
        }
    }
}

/// One thing a policy found. Never holds the matched text.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is: `email`, `ssn`, `override`, ...
    pub what: Cow<'static, str>,
    /// Stable id of the rule that found it.
    pub rule: Cow<'static, str>,
    /// Index into [`Prompt::texts`]; 0 for answers.
    pub text: usize,
    /// Byte range in that text's decoded value.
    pub range: Range<usize>,
    /// 0 to 1, where the rule has a degree.
    pub score: Option<f32>,
}

/// A replacement of one byte range of one decoded text of the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextEdit {
    /// Index into [`Prompt::texts`].
    pub text: usize,
    /// Byte range in that text's decoded value.
    pub range: Range<usize>,
    /// What takes its place, in the same (decoded) terms.
    pub with: String,
}

/// What one policy says of a prompt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// The word.
    pub verdict: Verdict,
    /// Why, for the record.
    pub findings: Vec<Finding>,
    /// For [`Verdict::Redact`]: ordered by text, then start; disjoint within one policy.
    pub edits: Vec<TextEdit>,
    /// The values to put back into this exchange's answer, where `edits` left tokens for them.
    pub restores: Option<Arc<Restorer>>,
}

/// A policy that could not judge. The gateway's fail mode decides what happens then.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// Judges prompts; shared by all requests.
pub trait Policy: Send + Sync {
    /// The kind as the config spells it: `pii-detector`.
    fn kind(&self) -> &'static str;
    /// The reason code of its refusals: `pii.detected`.
    fn reason_code(&self) -> &'static str;
    /// The sentence of its refusals.
    fn message(&self) -> Cow<'static, str>;
    /// Judges the whole prompt, before any byte leaves.
    fn inspect(&self, prompt: &Prompt<'_>) -> Result<Judgement, Fault>;
    /// Whether it reads this text of a prompt.
    fn reads(&self, _text: &Text<'_>) -> bool {
        true
    }
    /// What a model of its own sees in a text a user wrote, where it has one. For whoever asked about this very text.
    fn explanation(&self, _text: &str) -> Option<Explanation> {
        None
    }
    /// Whether [`Policy::watch`] can return a watch: the relay of answers nobody watches is a plain copy.
    fn watches_answers(&self) -> bool {
        false
    }
    /// Begins watching one channel of one answer.
    fn watch(&self, _channel: &AnswerChannel) -> Option<Box<dyn Watch>> {
        None
    }
}

/// Judges one answer channel as its text arrives. Offsets count bytes of the channel's decoded text from its beginning.
///
/// For tool-call arguments the text is JSON itself, split anywhere: the watch must see through its escapes, and its
/// replacements must keep it valid JSON.
pub trait Watch: Send + Sync {
    /// Takes the next piece (non-empty or empty) and reports into `out`.
    fn feed(&mut self, delta: &str, out: &mut Released) -> Flow;
    /// The text is over: everything is decided by this call.
    fn end(&mut self, out: &mut Released) -> Flow;
    /// A watch that stands where this one does. It may be ended while this one goes on, should the text not have been over.
    fn fork(&self) -> Box<dyn Watch>;
}

/// Whether an answer may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Release what is decided and go on.
    Continue,
    /// Refuse the rest; undecided text is never released.
    Block,
}

/// What a watch has decided so far; the caller drains `replacements` and `findings` after each call.
#[derive(Debug, Clone, Default)]
pub struct Released {
    /// Text before this offset is decided: it may leave, with the replacements applied. Never decreases.
    pub upto: u64,
    /// New since the last call: ordered, disjoint, all at or after the previous `upto` and before this one. A long match may be
    /// reported in parts: its first part carries the label, the later parts an empty replacement.
    pub replacements: Vec<Replacement>,
    /// New since the last call.
    pub findings: Vec<Finding>,
}

/// One replaced byte range of an answer channel's decoded text.
#[derive(Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Byte offsets from the beginning of the channel.
    pub range: Range<u64>,
    /// What takes its place, in the channel's decoded terms (for arguments: JSON source).
    pub with: String,
    /// To what end.
    pub change: Change,
}

/// What a replacement does to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Takes something out that nobody is to see.
    Redacts,
    /// Puts something in that the caller is to see, and no provider.
    Restores,
}

impl std::fmt::Debug for Replacement {
    /// A value that is put back is not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let with = match self.change {
            Change::Redacts => self.with.as_str(),
            Change::Restores => "..",
        };
        f.debug_struct("Replacement").field("range", &self.range).field("with", &with).field("change", &self.change).finish()
    }
}
