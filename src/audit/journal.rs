//! The journal: where an exchange reserves its place before the provider is contacted and seals it when it ends.
//!
//! "No exchange without a record" is a matter of types: a [`Ticket`] is the only way to write one, completing consumes it, and
//! dropping one that began writes that it was interrupted. Nothing here needs a particular runtime: waiting is done by plain
//! futures that the journal's own threads answer, at the latest after `max_wait`.

use super::AuditError;
use super::engine::{Answer, Inner, Said};
use super::note::Signer;
use super::origin::Origin;
use super::queue::{Gate, Room};
use super::record::{Completed, Event, Received};
use super::recover::recover;
use super::vault::Deposit;
use super::writer::Sync;
use crate::config::Secret;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use uuid::Uuid;

const RECEIVED: &str = "llm.request.received";
const COMPLETED: &str = "llm.request.completed";

/// How a journal behaves.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// Refuse an exchange that cannot be recorded (fail closed); otherwise let it pass and record the loss.
    pub immutable: bool,
    /// How long an exchange waits for room, and for its record to be durable.
    pub max_wait: Duration,
    /// Least time from one sync to the next; zero syncs as often as the disk can.
    pub commit_interval: Duration,
    /// Free space below which nothing is admitted.
    pub min_free: MinFree,
    /// Size of one segment file in bytes; at least [`MIN_SEGMENT`](super::segment::MIN_SEGMENT).
    pub segment_bytes: u64,
    /// Bytes of records that may wait for the disk, reservations included.
    pub queue_bytes: usize,
    /// How long records are kept; then whole segments of them are deleted.
    pub retention: Duration,
    /// Record who reads the log.
    pub log_all_access: bool,
    /// The key that signs checkpoints, as PKCS#8 PEM; without one the log's own `key.pem`, made at its first start.
    pub signing_key: Option<Secret>,
}

impl Default for JournalSettings {
    fn default() -> Self {
        JournalSettings {
            immutable: true,
            max_wait: Duration::from_millis(250),
            commit_interval: Duration::ZERO,
            min_free: MinFree { bytes: 1 << 30, percent: 5.0 },
            segment_bytes: 64 << 20,
            queue_bytes: 64 << 20,
            retention: Duration::from_secs(365 * 24 * 3600),
            log_all_access: true,
            signing_key: None,
        }
    }
}

/// Free space the log leaves alone: the larger of the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinFree {
    /// In bytes.
    pub bytes: u64,
    /// In percent of the file system.
    pub percent: f64,
}

/// The exchange cannot be recorded now, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot take a record: {0}")]
pub struct Unavailable(pub &'static str);

impl Unavailable {
    /// Too much waits for the disk.
    pub const QUEUE_FULL: Unavailable = Unavailable("too many records wait for the disk");
    /// The disk did not confirm within `max_wait`.
    pub const DISK_SLOW: Unavailable = Unavailable("the disk did not confirm in time");
    /// Less than `min_free` is left.
    pub const DISK_FULL: Unavailable = Unavailable("the file system is nearly full");
    /// Writing failed twice.
    pub const WRITE_FAILED: Unavailable = Unavailable("writing failed");
    /// The gateway stops.
    pub const CLOSED: Unavailable = Unavailable("it is closed");
}

/// One append-only log; clones share it. The last one to go closes it.
#[derive(Clone)]
pub struct Journal(Option<Arc<Inner>>);

/// A reserved place in the journal: one exchange.
#[must_use = "an exchange is recorded by completing or refusing its ticket"]
pub struct Ticket {
    id: Uuid,
    inner: Option<Arc<Inner>>,
    stage: Stage,
    /// For the vault, with the next record.
    deposit: Option<Deposit>,
}

/// Where the journal stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether exchanges are admitted now.
    pub admitting: bool,
    /// Records in the log, the waiting ones included.
    pub records: u64,
    /// Index of the last of them.
    pub last_index: Option<u64>,
    /// Index of the last one that is durable.
    pub durable_index: Option<u64>,
    /// Records that a signed checkpoint covers.
    pub signed: u64,
    /// Bytes reserved, waiting, or not yet durable.
    pub queue_bytes: usize,
    /// Age of the oldest record that is not durable.
    pub lag: Duration,
    /// Records and exchanges that could not be recorded since the start.
    pub lost: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Time they took together.
    pub sync_time: Duration,
}

impl Journal {
    /// Opens or creates the log of `origin` under `dir`: checks what is not sealed, cuts off what a crash left half written, and
    /// ends the exchanges nobody ended. Starts threads, so a process that forks must do it first.
    ///
    /// # Errors
    /// When another process writes the log, on damage anywhere but at its end, without a usable key, and those of the file system.
    pub fn open(dir: &Path, origin: &str, settings: JournalSettings) -> Result<Journal, AuditError> {
        Self::open_with(dir, origin, settings, Arc::new(File::sync_data))
    }

    pub(super) fn open_with(dir: &Path, origin: &str, settings: JournalSettings, sync: Sync) -> Result<Journal, AuditError> {
        let mut origin = Origin::parse(origin)?.newest_epoch(dir);
        let make_key = |home: &Path, name: &str| match &settings.signing_key {
            Some(pem) => Signer::from_pem(name, pem.expose()),
            None => Signer::load_or_create(&home.join("key.pem"), name),
        };
        let recover = |origin: &Origin| recover(dir, origin, settings.segment_bytes, &make_key);
        let (recovered, forked) = match recover(&origin) {
            Err(AuditError::Forked { why, note }) => {
                log::error!("the audit log {origin} is not the one that was last signed ({why}); {} begins", origin.next_epoch());
                let forked = Event::Epoch { previous: origin.to_string(), reason: why, checkpoint: note };
                origin = origin.next_epoch();
                (recover(&origin)?, Some(forked))
            }
            recovered => (recovered?, None),
        };
        let home = origin.below(dir);
        let journal = Journal(Some(Arc::new(Inner::start(&origin, home, recovered, forked, &settings, sync)?)));
        Ok(journal)
    }

    /// A journal that records nothing and admits everyone: for a chain without `audit-logger`.
    pub fn disabled() -> Journal {
        Journal(None)
    }

    /// The log it writes; `None` when disabled.
    pub fn origin(&self) -> Option<Origin> {
        self.0.as_ref().and_then(|inner| Origin::parse(&inner.pen.source.origin).ok())
    }

    /// Reserves room for one exchange, before its provider is contacted. Waits at most `max_wait`.
    ///
    /// A journal that fails open always returns a ticket; one it had no room for records nothing but its own loss.
    pub async fn admit(&self) -> Result<Ticket, Unavailable> {
        let id = Uuid::now_v7();
        let Some(inner) = &self.0 else { return Ok(Ticket { id, inner: None, stage: Stage::Unrecorded, deposit: None }) };
        let stage = match inner.pen.queue.admit().await {
            Ok(room) => Stage::Reserved(room),
            Err(why) if inner.immutable => return Err(why),
            Err(why) => {
                inner.pen.queue.lose(why);
                Stage::Unrecorded
            }
        };
        Ok(Ticket { id, inner: Some(inner.clone()), stage, deposit: None })
    }

    /// Records an event of the gateway's own life; never waits.
    pub fn note(&self, event: Event) {
        if let Some(inner) = &self.0 {
            inner.pen.push(Uuid::now_v7(), event.kind(), None, &event, false);
        }
    }

    /// Records an event that callers can cause as often as they like: when too much waits for the disk already, it is counted as lost
    /// instead. Never waits.
    pub fn note_if_room(&self, event: Event) {
        let Some(inner) = &self.0 else { return };
        match inner.pen.queue.is_crowded() {
            true => inner.pen.queue.lose(Unavailable::QUEUE_FULL),
            false => self.note(event),
        }
    }

    /// The directory of this log; none when disabled.
    pub fn home(&self) -> Option<&Path> {
        self.0.as_ref().map(|inner| inner.home.as_path())
    }

    /// What checks its signatures, as C2SP writes it (`name+hash+base64`); none when disabled.
    pub fn verifier_key(&self) -> Option<&str> {
        self.0.as_ref().map(|inner| inner.verifier_key.as_str())
    }

    /// Where it stands; all zero when disabled, but for `admitting`.
    pub fn status(&self) -> Status {
        let Some(inner) = &self.0 else { return Status { admitting: true, ..Status::default() } };
        let progress = inner.pen.handoff.progress();
        let (next, queue_bytes, waiting, lost, gate) = inner.pen.queue.look();
        let oldest = progress.oldest.into_iter().chain(waiting).min();
        Status {
            admitting: gate == Gate::Open,
            records: next,
            last_index: next.checked_sub(1),
            durable_index: progress.durable.checked_sub(1),
            signed: inner.signed.load(Ordering::Relaxed),
            queue_bytes,
            lag: oldest.map_or(Duration::ZERO, |pushed| pushed.elapsed()),
            lost,
            syncs: progress.syncs,
            sync_time: progress.sync_time,
        }
    }

    /// Admits nobody any more, writes and syncs what waits, and stops the threads. Blocks until then, ten seconds at most.
    /// Exchanges still open are ended by the next start.
    pub fn close(&self) {
        if let Some(inner) = &self.0 {
            inner.close();
        }
    }
}

impl Ticket {
    /// The exchange's id: that of its first record.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whether what is said of this exchange is written down.
    pub fn is_recorded(&self) -> bool {
        !matches!(self.stage, Stage::Unrecorded)
    }

    /// Encloses what goes to the vault with the next record, in place of what was enclosed before.
    pub fn enclose(&mut self, deposit: Deposit) {
        self.deposit = Some(deposit);
    }

    /// Writes the first record and returns when it is durable: only then may a byte of the prompt leave the host.
    /// A second call does nothing.
    pub async fn received(&mut self, record: Received) -> Result<(), Unavailable> {
        let Some(inner) = &self.inner else { return Ok(()) };
        self.stage = match std::mem::replace(&mut self.stage, Stage::Unrecorded) {
            Stage::Reserved(room) => Stage::Begun(room),
            stage => {
                self.stage = stage;
                return Ok(());
            }
        };
        let said = Said { id: self.id, kind: RECEIVED, parent: None, last: false, body: &record };
        let answer = inner.pen.push_with(said, self.deposit.take(), true);
        inner.durable(answer).await
    }

    /// Writes the last record. Never waits: its room was reserved.
    pub fn complete(mut self, record: Completed) {
        self.finish(record, false);
    }

    /// Writes the only record of a refused exchange and returns when it is durable: only then may the refusal leave.
    pub async fn refuse(mut self, record: Completed) -> Result<(), Unavailable> {
        let answer = self.finish(record, true);
        match &self.inner {
            Some(inner) => inner.durable(answer).await,
            None => Ok(()),
        }
    }

    fn finish(&mut self, record: Completed, wanted: bool) -> Option<Answer> {
        let inner = self.inner.as_ref()?;
        let deposit = self.deposit.take();
        let said = |id, parent| Said { id, kind: COMPLETED, parent, last: true, body: &record };
        match std::mem::replace(&mut self.stage, Stage::Unrecorded) {
            Stage::Reserved(_room) => inner.pen.push_with(said(self.id, None), deposit, wanted),
            Stage::Begun(_room) => inner.pen.push_with(said(Uuid::now_v7(), Some(self.id)), deposit, wanted),
            Stage::Unrecorded => None,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let (Some(inner), Stage::Begun(_)) = (&self.inner, &self.stage) {
            inner.pen.interrupted(self.id, "dropped");
        }
    }
}

/// How far an exchange has come. The room goes back after the record that filled it was pushed.
enum Stage {
    Reserved(Room),
    Begun(Room),
    /// Ended, or never to be recorded.
    Unrecorded,
}
