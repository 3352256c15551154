//! The two threads that carry records to the disk.
//!
//! The framing thread alone writes and rotates segments; the sync thread alone syncs them. Between them stands the
//! [`Handoff`]: what is written and not yet durable. While one sync runs, the next batch is framed and written, so a sync
//! covers all that arrived during the one before it, without any timer.
//!
//! A failed sync is never tried again on the same file: the kernel may have dropped the very pages it could not write and would
//! report success. What is not acknowledged is written again, to a new segment. A second failure before any success suspends the
//! journal: nobody is admitted, and a new segment is tried every second until the disk takes one.

use super::entry::{Gap, Head, Source, encode};
use super::handoff::Handoff;
use super::journal::{MinFree, Unavailable};
use super::merkle::{Frontier, leaf_hash};
use super::origin::Origin;
use super::queue::Queue;
use super::segment::{self, FRAME_HEAD, HEADER_BYTES, Header, MIN_SEGMENT};
use super::vault::Vault;
use super::work::{Entry, Loss, Work};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;

/// Written to the file at once, at most about this much.
const WRITE_BYTES: usize = 1 << 20;
/// How often free space is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a disk that failed twice is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Makes what was written to a file durable; `fdatasync`, except in tests of its failure.
pub(super) type Sync = Arc<dyn Fn(&File) -> io::Result<()> + Send + std::marker::Sync>;

/// Where segments come from.
pub(super) struct Store {
    pub(super) wal: PathBuf,
    pub(super) origin: Origin,
    pub(super) segment_bytes: u64,
    /// The next segment's zeros, being written ahead of need.
    pub(super) spare: Option<JoinHandle<io::Result<File>>>,
}

/// A segment being written.
pub(super) struct Segment {
    pub(super) file: Arc<File>,
    pub(super) at: u64,
    pub(super) capacity: u64,
}

impl Store {
    /// A new segment, complete with its header and its name in the directory, all durable.
    pub(super) fn create(&mut self, before: &Frontier) -> io::Result<Segment> {
        let capacity = self.segment_bytes.max(MIN_SEGMENT);
        let blank = self.wal.join("next.tmp");
        let spare = self.spare.take().and_then(|thread| thread.join().ok()).and_then(Result::ok);
        let file = spare.map_or_else(|| segment::blank(&blank, capacity), Ok)?;
        let header = Header { origin: self.origin.as_str().to_string(), before: before.clone() };
        file.write_all_at(&header.encode(), 0)?;
        file.sync_data()?;
        std::fs::rename(&blank, segment::path(&self.wal, before.size()))?;
        File::open(&self.wal)?.sync_all()?;
        let make = move || segment::blank(&blank, capacity);
        self.spare = std::thread::Builder::new().name("audit-spare".into()).spawn(make).ok();
        Ok(Segment { file: Arc::new(file), at: HEADER_BYTES as u64, capacity })
    }

    /// Puts aside every segment that begins behind an index: of records that are not acknowledged and will be written anew.
    fn retire_behind(&self, first: u64) -> io::Result<()> {
        for (begins, path) in segment::list(&self.wal)? {
            if begins > first {
                std::fs::rename(&path, path.with_extension("void"))?;
            }
        }
        Ok(())
    }

    /// Gives the spare up.
    fn discard_spare(&mut self) {
        if let Some(thread) = self.spare.take() {
            let _ = thread.join();
            let _ = std::fs::remove_file(self.wal.join("next.tmp"));
        }
    }
}

/// The framing thread.
pub(super) struct Framer {
    pub(super) queue: Arc<Queue>,
    pub(super) handoff: Arc<Handoff>,
    pub(super) source: Arc<Source>,
    pub(super) store: Store,
    pub(super) segment: Segment,
    /// The tree over all that was framed.
    pub(super) tree: Frontier,
    pub(super) vault: Vault,
    pub(super) min_free: MinFree,
}

impl Framer {
    /// Runs until the journal is closed and everything is durable, or cannot be.
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        let mut looked = None;
        loop {
            if looked.is_none_or(|at: Instant| at.elapsed() >= LOOK_EVERY) {
                self.queue.set_full(self.is_full());
                looked = Some(Instant::now());
            }
            // Whatever comes while the disk is busy waits for its turn together, and one wake-up serves them all.
            self.is_settled();
            let done = match self.queue.take(&mut batch) {
                Work::Write => self.write(&mut batch),
                Work::Reappend if self.handoff.lock().fault => self.take_over(),
                Work::Reappend | Work::Idle => Ok(()),
                Work::Gap(loss) => {
                    self.record(loss);
                    Ok(())
                }
                Work::Finish if self.is_settled() => break,
                Work::Finish => self.take_over(),
            };
            if let Err(error) = done
                && !self.survives(error)
            {
                self.queue.shut(Unavailable::WRITE_FAILED, true);
                break;
            }
        }
        self.store.discard_spare();
        let mut state = self.handoff.lock();
        state.finished = true;
        self.handoff.changed.notify_all();
    }

    /// Keeps, frames and writes a batch.
    fn write(&mut self, batch: &mut Vec<Entry>) -> io::Result<()> {
        // Kept before the first byte is written: a failure half way loses none of them.
        self.handoff.lock().unacked.extend(batch.iter().cloned());
        let mut buffer = Vec::with_capacity(WRITE_BYTES.min(batch.len() * 1024));
        for entry in batch.drain(..) {
            self.frame(&mut buffer, &entry)?;
        }
        self.flush(&mut buffer)
    }

    fn frame(&mut self, buffer: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
        let needed = (FRAME_HEAD + entry.bytes.len()) as u64;
        if self.segment.at + buffer.len() as u64 + needed > self.segment.capacity {
            self.flush(buffer)?;
            self.segment = self.store.create(&self.tree)?;
            self.vault.begin(self.tree.size());
        }
        if let Some(deposit) = &entry.deposit {
            self.vault.put(self.tree.size(), deposit);
        }
        segment::put_frame(buffer, &entry.leaf, &entry.bytes);
        self.tree.push(entry.leaf);
        if buffer.len() + self.vault.waiting() >= WRITE_BYTES { self.flush(buffer) } else { Ok(()) }
    }

    /// Writes the buffer and hands it to the sync thread.
    fn flush(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let deposited = self.vault.flush()?;
        self.vault.limit(self.tree.size());
        self.segment.file.write_all_at(buffer, self.segment.at)?;
        self.segment.at += buffer.len() as u64;
        buffer.clear();
        let mut state = self.handoff.lock();
        for file in deposited.iter().chain([&self.segment.file]) {
            if !state.dirty.iter().any(|dirty| Arc::ptr_eq(dirty, file)) {
                state.dirty.push(file.clone());
            }
        }
        state.written.clone_from(&self.tree);
        self.handoff.changed.notify_all();
        Ok(())
    }

    /// Writes everything unacknowledged to a new segment, which takes over from there.
    fn reappend(&mut self) -> io::Result<()> {
        let entries = {
            let mut state = self.handoff.lock();
            // The sync thread keeps off until the new segment holds something.
            state.fault = true;
            state.generation += 1;
            state.dirty.clear();
            state.written = state.durable.clone();
            self.tree = state.durable.clone();
            state.unacked.iter().cloned().collect::<Vec<_>>()
        };
        self.store.retire_behind(self.tree.size())?;
        self.segment = self.store.create(&self.tree)?;
        self.vault.anew(self.tree.size());
        let mut buffer = Vec::new();
        for entry in &entries {
            self.frame(&mut buffer, entry)?;
        }
        self.flush(&mut buffer)?;
        self.handoff.lock().fault = false;
        self.handoff.changed.notify_all();
        Ok(())
    }

    /// A new segment after a failed sync; a disk that fails again and again is given a rest first.
    fn take_over(&mut self) -> io::Result<()> {
        if self.handoff.is_failing() && !self.queue.rest(RETRY_EVERY) {
            return Err(io::Error::other("the journal is closed while the disk fails"));
        }
        self.reappend()
    }

    /// After a failed write: tries new segments until one is taken. False when the journal is closed before that.
    fn survives(&mut self, mut error: io::Error) -> bool {
        loop {
            if self.handoff.fails("writing", &error) {
                self.queue.suspend(Unavailable::WRITE_FAILED);
                if !self.queue.rest(RETRY_EVERY) {
                    let waiting = self.handoff.lock().unacked.len();
                    log::error!("audit log: closed while the disk fails; {waiting} records are not durable");
                    return false;
                }
            }
            match self.reappend() {
                Ok(()) => return true,
                Err(again) => error = again,
            }
        }
    }

    /// Waits for the sync thread: true when all is durable or never will be, false when it asks for a new segment.
    fn is_settled(&self) -> bool {
        let mut state = self.handoff.lock();
        while !state.finished && !state.fault && state.durable.size() < state.written.size() {
            state = self.handoff.wait(state);
        }
        state.finished || !state.fault
    }

    fn record(&self, loss: Loss) {
        let Loss { count, from, to, reason } = loss;
        let gap = Gap { count, bytes: None, from, to, reason };
        let head = Head { id: Uuid::now_v7(), kind: Gap::KIND, parent: None, time: SystemTime::now() };
        let bytes = encode(&self.source, &head, &gap);
        let leaf = leaf_hash(&bytes);
        self.queue.push_own(bytes, leaf);
    }

    /// Whether the file system has less free than the log leaves alone; unknown counts as no.
    fn is_full(&self) -> bool {
        let Ok(fs) = rustix::fs::statvfs(&self.store.wal) else { return false };
        let (free, all) = (fs.f_bavail as f64 * fs.f_frsize as f64, fs.f_blocks as f64 * fs.f_frsize as f64);
        free < (self.min_free.bytes as f64).max(all * self.min_free.percent / 100.0)
    }
}

/// The sync thread: runs until the framing thread has finished.
pub(super) fn run_sync(queue: &Arc<Queue>, handoff: &Handoff, sync: &Sync, pause: Duration) {
    let mut state = handoff.lock();
    loop {
        while !state.finished && (state.fault || state.written.size() == state.durable.size()) {
            state = handoff.wait(state);
        }
        if state.finished {
            return;
        }
        let (files, upto, generation) = (std::mem::take(&mut state.dirty), state.written.clone(), state.generation);
        let durable = upto.size();
        drop(state);
        let began = Instant::now();
        let synced = files.iter().try_for_each(|file| sync(file));
        let took = began.elapsed();
        match synced {
            Ok(()) => {
                if let Some(weight) = handoff.settle(generation, upto, took) {
                    queue.settle(durable, weight);
                }
            }
            Err(error) => {
                if handoff.spoil(generation, &error) {
                    queue.suspend(Unavailable::WRITE_FAILED);
                }
                queue.ask_reappend();
            }
        }
        std::thread::sleep(pause.saturating_sub(began.elapsed()));
        state = handoff.lock();
    }
}
