//! What is learnt of an answer while it passes: for its record, the metrics, and how its target stands.

use crate::openai::chunk::{Chunk, Usage};
use std::time::Instant;

/// What an answer taught.
#[derive(Debug, Default)]
pub struct Tally {
    /// Tokens, as the provider counts them.
    pub usage: Option<Usage>,
    /// Why each choice ended.
    pub finish_reasons: Vec<String>,
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// Events with data, `[DONE]` aside.
    pub chunks: u64,
    /// When the first byte of the body arrived.
    pub first_byte: Option<Instant>,
    /// When the first byte of the target that answers now did: another one than the first where a stream is gone on with.
    pub target_began: Option<Instant>,
    /// When the last did.
    pub last_byte: Option<Instant>,
    /// The answer came to its proper end: `[DONE]`, a finish reason, or a whole body.
    pub whole: bool,
    /// The provider reported an error inside the stream: its status, 500 when it names none.
    pub error: Option<u16>,
    /// Body bytes handed to the caller.
    pub bytes: u64,
    /// Data in it that no policy could read, distinct.
    pub unread: Vec<&'static str>,
    /// The target that answers now has told its id and model.
    pub(super) named: bool,
}

impl Tally {
    /// Takes what an object of the answer tells.
    pub(super) fn learn(&mut self, chunk: &Chunk<'_>) {
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        for what in &chunk.unread {
            if !self.unread.contains(what) {
                self.unread.push(what);
            }
        }
        for (_, reason) in &chunk.finish {
            self.finish_reasons.push(reason.to_string());
        }
        if !std::mem::replace(&mut self.named, true) {
            self.id = chunk.id.as_deref().map(Into::into).or(self.id.take());
            self.model = chunk.model.as_deref().map(Into::into).or(self.model.take());
        }
    }
}

/// Whether an object may end a choice: as cheap as [`may_hold_usage`], and as approximate.
pub(super) fn may_finish(json: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(json, b"\"finish_reason\"") else { return false };
    let value = json[at + b"\"finish_reason\"".len()..].iter().find(|b| !matches!(b, b':' | b' '));
    value.is_some_and(|b| *b != b'n')
}

/// Whether an object may report an error, likewise.
pub(super) fn may_fail(json: &[u8]) -> bool {
    memchr::memmem::find(json, b"\"error\"").is_some()
}

/// The HTTP status an error inside a stream stands for.
pub fn error_status(json: &[u8]) -> u16 {
    let event: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let named =
        ["/status_code", "/error/status_code", "/error/status", "/error/code"].iter().find_map(|at| event.pointer(at)?.as_u64());
    named.and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status)).unwrap_or(500)
}
