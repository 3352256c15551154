//! The thread that keeps house: seals segments that are full, prunes those whose time is over, and takes over what others left in
//! the inbox. Nothing waits for it.

use super::books::Books;
use super::engine::Pen;
use super::event::{Event, PrunedSegment};
use super::inbox;
use super::retention::{self, Age};
use super::sealed::{self, Sealed};
use super::tree::LogTree;
use super::{AuditError, holds, segment, vault};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

/// How often it looks around.
const EVERY: Duration = Duration::from_secs(1);
/// How often it looks for what is too old.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// What the thread works with.
pub(super) struct Keeper {
    pub(super) home: PathBuf,
    pub(super) pen: Arc<Pen>,
    /// Size of the tree that the newest checkpoint covers: only that is sealed.
    pub(super) signed: Arc<AtomicU64>,
    /// How long records are kept.
    pub(super) retention: Duration,
    pub(super) age: Age,
}

impl Keeper {
    /// Runs until the other end of `stop` goes.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        let mut pruned: Option<Instant> = None;
        let mut failing = false;
        if let Err(error) = sealed::sweep(&self.home) {
            log::warn!("audit log: what a crash left behind cannot be removed: {error}");
        }
        loop {
            // A message that cannot be read keeps nothing from being sealed.
            let messages = self.take_messages();
            let mut done = self.seal(stop).and(messages);
            if done.is_ok() && pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
                pruned = Some(Instant::now());
                done = self.prune();
            }
            match &done {
                Err(error) if !failing => log::error!("audit log: keeping house failed: {error}; trying again"),
                _ => {}
            }
            failing = done.is_err();
            if !matches!(stop.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    fn take_messages(&self) -> Result<(), AuditError> {
        let taken = inbox::collect(&self.home, &mut |event| self.pen.note_durably(event));
        taken.map_err(AuditError::at(&self.home.join("inbox")))
    }

    fn seal(&self, stop: &Receiver<()>) -> Result<(), AuditError> {
        let wal = self.home.join("wal");
        let mut known = sealed::list(&self.home).map_err(AuditError::at(&self.home))?;
        loop {
            let segments = segment::list(&wal).map_err(AuditError::at(&wal))?;
            let [(first, path), (behind, _), ..] = &segments[..] else { return Ok(()) };
            if known.last().is_some_and(|last| last.last >= *first) {
                // Sealed before, and not removed before a crash.
                remove(path)?;
            } else if self.signed.load(Ordering::Relaxed) >= *behind
                && stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty)
            {
                let mut books = books_behind(known.last())?;
                known.push(sealed::seal(&self.home, path, behind - 1, &mut books)?);
                remove(path)?;
            } else {
                return Ok(());
            }
        }
    }

    /// Says in the log what goes, and then lets it go.
    fn prune(&mut self) -> Result<(), AuditError> {
        let now = self.age.now(SystemTime::now(), Instant::now());
        let known = sealed::list(&self.home).map_err(AuditError::at(&self.home))?;
        let due = retention::due(&known, self.retention, now, &holds::list(&self.home)?)?;
        let Some(last) = due.last() else {
            // What a crash kept from going with its records.
            return known.first().map_or(Ok(()), |first| vault::prune(&self.home, first.first));
        };
        let segments = due.iter().map(described).collect::<Result<_, _>>()?;
        LogTree::at(&self.home)?.keep_edge(last.last + 1)?;
        if !self.pen.note_durably(Event::Pruned { by: "retention_days".into(), new_minimum: last.last + 1, segments }) {
            return Ok(());
        }
        // Oldest first, and the index first of each: a crash half way leaves a log that begins later, and files nobody reads.
        for file in due.iter().flat_map(|segment| segment.files().into_iter().rev()) {
            remove(&file)?;
        }
        vault::prune(&self.home, last.last + 1)?;
        log::info!("audit log: records before {} were pruned, as retention_days says", last.last + 1);
        Ok(())
    }
}

fn books_behind(last: Option<&Sealed>) -> Result<Books, AuditError> {
    let Some(last) = last else { return Ok(Books::default()) };
    let index = sealed::index::Index::read(last).map_err(AuditError::at(&last.files()[2]))?;
    Ok(Books::inheriting(index.behind))
}

/// A segment as the record of its end names it.
fn described(segment: &Sealed) -> Result<PrunedSegment, AuditError> {
    let entries = &segment.files()[0];
    let bytes = std::fs::read(entries).map_err(AuditError::at(entries))?;
    Ok(PrunedSegment { first: segment.first, last: segment.last, sha256: hex::encode(Sha256::digest(bytes)) })
}

fn remove(path: &Path) -> Result<(), AuditError> {
    std::fs::remove_file(path).map_err(AuditError::at(path))
}
