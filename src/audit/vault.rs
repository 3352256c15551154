//! What may be erased: the salts of the log's commitments and, where the config asks for them, bodies. Records name what is here;
//! nothing here is part of the tree, so its end breaks no proof.
//!
//! A vault file, `vault/<first index>.vault`, holds what belongs to the records from that index on, up to where the next file begins.
//! A new one begins with every segment, so that whole files go with the records they belong to, at 256 MiB, and at every start of the
//! gateway. What is appended is synced together with its records, before any of them is acknowledged. All numbers are little endian.
//!
//! ```text
//! header   "kt-vault" | u32 version | u32 zero | u64 first index | u64 milliseconds since 1970
//! deposit  u32 magic | u32 crc32c of the rest of the head | u64 index | exchange (16) | record (16)
//!          | u32 length of the request | u32 of the answer | u8 salts | u8 form | u8 last | u8 zero
//!          salts (32 each), request, answer                                   zeros where they were erased
//! ```
//!
//! The head of a deposit carries a checksum; what behind it may be erased is checked by the commitments it opens. A deposit whose
//! index belongs to the next file was never acknowledged and is void.

mod file;
mod reader;
mod seal;
mod writer;

pub(super) use reader::prune;
pub use reader::{Erase, Kept, erase, find};
pub use seal::{Keep, unsealed};
pub(super) use writer::Vault;

use super::commitment::Salt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;

/// What the vault takes with one record.
#[derive(Debug, Default)]
pub struct Deposit {
    /// What opens its commitments.
    pub salts: Salts,
    /// In which form the bodies are.
    pub form: Form,
    /// The request's body, as it is stored.
    pub request: Option<Body>,
    /// The answer's.
    pub answer: Option<Body>,
}

/// A deposit, and whose it is.
#[derive(Debug)]
pub(super) struct Placed {
    /// The exchange: the id of its first record.
    pub(super) exchange: Uuid,
    /// The record it belongs to.
    pub(super) record: Uuid,
    /// Nothing more comes of this exchange.
    pub(super) last: bool,
    pub(super) deposit: Deposit,
}

/// Salts, by what they open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salts {
    /// The request as the caller sent it.
    pub request: Option<Salt>,
    /// The request without what a policy took out of it.
    pub redacted: Option<Salt>,
    /// The answer as the caller got it.
    pub answer: Option<Salt>,
}

impl Salts {
    fn each(&self) -> [&Option<Salt>; 3] {
        [&self.request, &self.redacted, &self.answer]
    }
}

/// In which form bodies are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As text, without what policies took out.
    #[default]
    Redacted,
    /// As an age file each, to the keys of the config.
    Encrypted,
}

impl Form {
    fn number(self) -> u8 {
        match self {
            Form::Redacted => 1,
            Form::Encrypted => 2,
        }
    }

    fn from_number(number: u8) -> Option<Form> {
        [Form::Redacted, Form::Encrypted].into_iter().find(|form| form.number() == number)
    }
}

impl Placed {
    fn is_empty(&self) -> bool {
        let Deposit { salts, request, answer, .. } = &self.deposit;
        *salts == Salts::default() && request.is_none() && answer.is_none()
    }

    /// Bytes of its salts, which count against the queue; bodies count against their [`Budget`].
    pub(super) fn weight(&self) -> usize {
        file::HEAD + self.deposit.salts.each().into_iter().flatten().count() * super::commitment::SALT
    }
}

/// Memory that bodies may take while they are gathered and wait for the disk; clones share it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// Of so many bytes.
    pub fn of(bytes: usize) -> Budget {
        Budget(Arc::new(AtomicUsize::new(bytes)))
    }

    /// An empty body, which grows.
    pub fn body(&self) -> Body {
        Body { bytes: Vec::new(), leased: 0, budget: self.clone() }
    }

    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// A body to be stored. What it takes of its budget goes back when it is dropped.
pub struct Body {
    bytes: Vec<u8>,
    leased: usize,
    budget: Budget,
}

impl Body {
    /// Least that is leased at once, in bytes.
    const STEP: usize = 16 << 10;

    /// Appends a piece. False, and nothing is appended, when there is no memory for it.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        let needed = (self.bytes.len() + piece.len()).saturating_sub(self.leased);
        if needed > 0 {
            let more = needed.max(Self::STEP);
            if !self.budget.take(more) {
                return false;
            }
            self.leased += more;
        }
        self.bytes.extend_from_slice(piece);
        true
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.leased, Ordering::Relaxed);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests;
