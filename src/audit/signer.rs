//! The thread that signs: twice a second, if records became durable, a checkpoint over all of them.
//!
//! It signs nothing that is not on disk, so no crash can leave a log shorter than a checkpoint says.

use super::checkpoints;
use super::handoff::Handoff;
use super::note::{Checkpoint, Signer};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How old a record may get before a checkpoint covers it.
const EVERY: Duration = Duration::from_millis(500);
/// How often a checkpoint is kept for good.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

/// What the thread works with.
pub(super) struct Signing {
    pub(super) handoff: Arc<Handoff>,
    pub(super) home: PathBuf,
    pub(super) origin: String,
    pub(super) key: Signer,
    /// Size of the tree that the newest checkpoint covers.
    pub(super) signed: Arc<AtomicU64>,
}

impl Signing {
    /// Runs until the other end of `stop` goes, and signs once more then.
    pub(super) fn run(self, stop: &Receiver<()>) {
        let (mut kept, mut failing) = (Instant::now(), false);
        loop {
            let last = !matches!(stop.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout));
            let keep = last || kept.elapsed() >= KEEP_EVERY;
            match self.sign(keep) {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        log::error!("audit log {}: no checkpoint could be written: {error}; trying again", self.origin);
                    }
                    failing = true;
                }
            }
            if last {
                return;
            }
            if keep && !failing {
                kept = Instant::now();
            }
        }
    }

    fn sign(&self, keep: bool) -> io::Result<()> {
        let tree = self.handoff.durable();
        let fresh = tree.size() > self.signed.load(Ordering::Relaxed);
        if !fresh && (!keep || tree.size() == 0) {
            return Ok(());
        }
        let note = self.key.sign(&Checkpoint { origin: self.origin.clone(), size: tree.size(), root: tree.root() });
        if fresh {
            checkpoints::replace(&self.home, &note)?;
            self.signed.store(tree.size(), Ordering::Relaxed);
        }
        if keep {
            checkpoints::keep(&self.home, tree.size(), &note)?;
        }
        Ok(())
    }
}
