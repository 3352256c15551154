//! What a record says of a body it does not hold.

use super::super::commitment::Commitment;
use super::Word;
use serde::Serialize;

/// A body, by its size and what was done to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Its length in bytes.
    pub bytes: u64,
    /// Which body it was: the request as the caller sent it, decoded; the answer as the caller got it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<Commitment>,
    /// The request without what policies took out of it: what any target was sent, but for its own model and the fields it does
    /// not take. Absent where nothing was taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted: Option<Redacted>,
    /// Where the body is kept: `vault/<exchange>/req`, shown by `kt audit open`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_ref: Option<String>,
    /// Why the body is not kept although the config asks for bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_omitted: Option<Omission>,
    /// What was replaced in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redactions: Vec<Redactions>,
    /// How much of it the chain read.
    #[serde(flatten)]
    pub coverage: Coverage,
}

/// A request without what policies took out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redacted {
    /// Its length in bytes.
    pub bytes: u64,
    /// Which body it was, committed to as the whole one is, with a salt of its own.
    pub commit: String,
}

/// Why a body is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Omission {
    /// It is longer than is kept of one body.
    TooLarge,
    /// Too many bodies waited for the disk.
    Busy,
    /// `bodies: redacted`, and `pii-detector` has not read all of it: it may hold what should be taken out.
    Unread,
    /// `bodies: redacted`, and values taken out of the prompt were put back into this answer.
    Restored,
    /// It could not be encrypted.
    Unencrypted,
}

/// How many values of one type were replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redactions {
    /// `email`, `ssn`, ...
    #[serde(rename = "type")]
    pub kind: Word,
    /// How many.
    pub count: u64,
}

/// What the chain read and what it could not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Channels read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scanned: Vec<Word>,
    /// Channels present and not readable: `image`, `audio`, `file`, ...
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unscanned: Vec<Word>,
}
