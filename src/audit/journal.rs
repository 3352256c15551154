//! The journal: where an exchange reserves its place before the provider is contacted and seals it when it ends.

use super::AuditError;
use super::record::{Completed, Event, Received};
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// How a journal behaves.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// Refuse an exchange that cannot be recorded (fail closed); otherwise let it pass and record the loss.
    pub immutable: bool,
    /// How long an exchange waits for room, and for its record to be durable.
    pub max_wait: Duration,
    /// Pause between two syncs; zero syncs as often as the disk can.
    pub commit_interval: Duration,
    /// Free space below which nothing is admitted.
    pub min_free: MinFree,
    /// Size of one segment file in bytes.
    pub segment_bytes: u64,
    /// Bytes of records that may wait for the disk.
    pub queue_bytes: usize,
}

/// Free space the log leaves alone: the larger of the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinFree {
    /// In bytes.
    pub bytes: u64,
    /// In percent of the file system.
    pub percent: f64,
}

/// The exchange cannot be recorded now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot take a record: {0}")]
pub struct Unavailable(pub &'static str);

/// One append-only log; clones share it.
#[derive(Clone)]
pub struct Journal {}

/// A reserved place in the journal: one exchange.
pub struct Ticket {}

/// Where the journal stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {}

impl Journal {
    /// Opens or creates the log of `origin` under `dir`, after recovering it.
    pub fn open(_dir: &Path, _origin: &str, _settings: JournalSettings) -> Result<Journal, AuditError> {
        unimplemented!()
    }
    /// A journal that records nothing.
    pub fn disabled() -> Journal {
        Journal {}
    }
    /// Reserves room for one exchange.
    pub async fn admit(&self) -> Result<Ticket, Unavailable> {
        unimplemented!()
    }
    /// Records an event of the gateway's life; never waits.
    pub fn note(&self, _event: Event) {}
    /// Where it stands.
    pub fn status(&self) -> Status {
        Status {}
    }
    /// Flushes, syncs and stops.
    pub fn close(&self) {}
}

impl Ticket {
    /// The exchange's id.
    pub fn id(&self) -> Uuid {
        unimplemented!()
    }
    /// Writes the first record; returns when it is durable.
    pub async fn received(&mut self, _record: Received) -> Result<(), Unavailable> {
        unimplemented!()
    }
    /// Writes the last record; never waits.
    pub fn complete(self, _record: Completed) {}
    /// Writes the only record of a refused exchange; returns when it is durable.
    pub async fn refuse(self, _record: Completed) -> Result<(), Unavailable> {
        unimplemented!()
    }
}
