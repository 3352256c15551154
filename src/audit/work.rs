//! What passes the queue between exchanges and the disk: records on their way, and what the framing thread is to do with them.

use super::merkle::Hash;
use super::vault::Placed;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Counted for each waiting entry beside its bytes.
const OVERHEAD: usize = 128;

/// A record on its way, in the order of its index.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) bytes: Bytes,
    pub(super) leaf: Hash,
    /// What belongs to it and is no part of it.
    pub(super) deposit: Option<Arc<Placed>>,
    pub(super) pushed: Instant,
}

impl Entry {
    /// What it counts against the bound.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + self.deposit.as_ref().map_or(0, |deposit| deposit.weight()) + OVERHEAD
    }
}

/// What the framing thread is to do next.
pub(super) enum Work {
    /// Frame and write what was taken.
    Write,
    /// Write everything unacknowledged to a new segment.
    Reappend,
    /// Record a loss, now that there is room.
    Gap(Loss),
    /// Nothing for a while.
    Idle,
    /// Everything is written and no more will come.
    Finish,
}

/// Exchanges let pass without a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    pub(super) count: u64,
    pub(super) from: SystemTime,
    pub(super) to: SystemTime,
    pub(super) reason: &'static str,
}
