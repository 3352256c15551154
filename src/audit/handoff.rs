//! What stands between the thread that writes and the one that syncs: all that is written and not yet durable.

use super::merkle::Frontier;
use super::work::Entry;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is written and not yet durable.
pub(super) struct Handoff {
    state: Mutex<Pending>,
    pub(super) changed: Condvar,
}

pub(super) struct Pending {
    /// Files written to since their last sync, in order.
    pub(super) dirty: Vec<Arc<File>>,
    /// Records not yet acknowledged: those behind `durable`.
    pub(super) unacked: VecDeque<Entry>,
    /// All that is written.
    pub(super) written: Frontier,
    /// All that is on disk.
    pub(super) durable: Frontier,
    /// A sync failed; the framing thread writes `unacked` anew.
    pub(super) fault: bool,
    /// How often a new segment took over from a failed one.
    pub(super) generation: u64,
    /// Since the last success.
    pub(super) failures: u32,
    pub(super) finished: bool,
    pub(super) syncs: u64,
    pub(super) sync_time: Duration,
}

/// What [`Handoff`] knows, for the journal's status.
pub(super) struct Progress {
    pub(super) durable: u64,
    pub(super) syncs: u64,
    pub(super) sync_time: Duration,
    /// When the oldest record that is not durable was pushed.
    pub(super) oldest: Option<Instant>,
}

impl Handoff {
    pub(super) fn new(durable: Frontier) -> Handoff {
        let state = Pending {
            dirty: Vec::new(),
            unacked: VecDeque::new(),
            written: durable.clone(),
            durable,
            fault: false,
            generation: 0,
            failures: 0,
            finished: false,
            syncs: 0,
            sync_time: Duration::ZERO,
        };
        Handoff { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn progress(&self) -> Progress {
        let state = self.lock();
        let oldest = state.unacked.front().map(|entry| entry.pushed);
        Progress { durable: state.durable.size(), syncs: state.syncs, sync_time: state.sync_time, oldest }
    }

    /// Counts a failure; true when it was not the first in a row.
    pub(super) fn fails(&self, what: &str, error: &io::Error) -> bool {
        let mut state = self.lock();
        state.failures += 1;
        match state.failures {
            1 => log::error!("audit log: {what} failed: {error}; writing unacknowledged records to a new segment"),
            2 => log::error!(
                "audit log: {what} failed again: {error}; nobody is admitted until the disk takes a new segment, {} records wait",
                state.unacked.len()
            ),
            _ => log::debug!("audit log: {what} still fails: {error}"),
        }
        state.failures > 1
    }

    pub(super) fn is_failing(&self) -> bool {
        self.lock().failures > 1
    }

    /// Forgets what is durable now and returns what it weighed. A sync that began before a new segment took over says nothing
    /// of that one: none.
    pub(super) fn settle(&self, generation: u64, upto: Frontier, took: Duration) -> Option<usize> {
        let mut state = self.lock();
        let mut weight = 0;
        if state.generation != generation {
            return None;
        }
        let fresh = upto.size().saturating_sub(state.durable.size()).min(state.unacked.len() as u64);
        for entry in state.unacked.drain(..fresh as usize) {
            weight += entry.weight();
        }
        state.durable = upto;
        state.failures = 0;
        state.syncs += 1;
        state.sync_time += took;
        self.changed.notify_all();
        Some(weight)
    }

    /// A sync failed: asks for a new segment, if none has taken over since. True when it was not the first failure in a row.
    pub(super) fn spoil(&self, generation: u64, error: &io::Error) -> bool {
        let mut state = self.lock();
        if state.generation != generation {
            return false;
        }
        state.fault = true;
        drop(state);
        let again = self.fails("sync", error);
        self.changed.notify_all();
        again
    }

    /// The tree over all that is on disk.
    pub(super) fn durable(&self) -> Frontier {
        self.lock().durable.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, Pending>) -> MutexGuard<'a, Pending> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}
