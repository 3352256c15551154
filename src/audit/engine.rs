//! What is behind a journal: its threads, from the first to the last, and the pen they all write with.

use super::entry::{Gap, Head, Interrupted, Source, encode};
use super::handoff::Handoff;
use super::journal::{JournalSettings, Unavailable};
use super::keeper::Keeper;
use super::merkle::leaf_hash;
use super::origin::Origin;
use super::queue::Queue;
use super::record::Event;
use super::recover::Recovered;
use super::retention::Age;
use super::sealed::Durable;
use super::signer::Signing;
use super::vault::{Deposit, Placed, Vault};
use super::writer::{Framer, Sync, run_sync};
use super::{AuditError, inbox};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;
use uuid::Uuid;

/// How long [`Inner::close`] waits for the disk.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Comes when a record is durable, or cannot be.
pub(super) type Answer = oneshot::Receiver<Result<(), Unavailable>>;

/// One record that is to be written.
pub(super) struct Said<'a, T> {
    pub(super) id: Uuid,
    pub(super) kind: &'static str,
    pub(super) parent: Option<Uuid>,
    /// Nothing more comes of its exchange.
    pub(super) last: bool,
    pub(super) body: &'a T,
}

/// What writes records: all that the threads of a journal share with it.
pub(super) struct Pen {
    pub(super) queue: Arc<Queue>,
    pub(super) handoff: Arc<Handoff>,
    pub(super) source: Arc<Source>,
}

impl Pen {
    pub(super) fn push<T: Serialize>(
        &self,
        id: Uuid,
        kind: &'static str,
        parent: Option<Uuid>,
        body: &T,
        wanted: bool,
    ) -> Option<Answer> {
        self.push_with(Said { id, kind, parent, last: false, body }, None, wanted)
    }

    /// [`Pen::push`], and `deposit` goes to the vault with the record.
    pub(super) fn push_with<T: Serialize>(&self, said: Said<'_, T>, deposit: Option<Deposit>, wanted: bool) -> Option<Answer> {
        let Said { id, kind, parent, last, body } = said;
        let bytes = encode(&self.source, &Head { id, kind, parent, time: SystemTime::now() }, body);
        let leaf = leaf_hash(&bytes);
        let exchange = parent.unwrap_or(id);
        let deposit = deposit.map(|deposit| Arc::new(Placed { exchange, record: id, last, deposit }));
        self.queue.push(bytes, leaf, deposit, wanted)
    }

    pub(super) fn interrupted(&self, parent: Uuid, why: &'static str) {
        self.push(Uuid::now_v7(), Interrupted::KIND, Some(parent), &Interrupted::because(why), false);
    }

    /// Records an event and waits until it is durable, or cannot be. For threads of their own.
    pub(super) fn note_durably(&self, event: Event) -> bool {
        let answer = self.push(Uuid::now_v7(), event.kind(), None, &event, true);
        answer.is_some_and(|answer| matches!(answer.blocking_recv(), Ok(Ok(()))))
    }
}

/// An open log.
pub(super) struct Inner {
    pub(super) pen: Arc<Pen>,
    pub(super) home: PathBuf,
    pub(super) verifier_key: String,
    pub(super) immutable: bool,
    /// Size of the tree that the newest checkpoint covers.
    pub(super) signed: Arc<AtomicU64>,
    threads: Mutex<Threads>,
}

/// The threads of a journal. The first ones end when the queue is shut; then the others, which are told by the end of a channel.
#[derive(Default)]
struct Threads {
    writing: Vec<JoinHandle<()>>,
    keeping: Vec<(mpsc::Sender<()>, JoinHandle<()>)>,
    /// Keeps other gateways out as long as any of them may write.
    lock: Option<File>,
}

impl Inner {
    /// Starts the threads of a log that is ready to be written.
    pub(super) fn start(
        origin: &Origin,
        home: PathBuf,
        recovered: Recovered,
        forked: Option<Event>,
        settings: &JournalSettings,
        sync: Sync,
    ) -> Result<Inner, AuditError> {
        let Recovered { lock, store, segment, tree, key, signed, orphans, cut, newest } = recovered;
        let io = || AuditError::at(&home);
        let verifier_key = key.verifier().to_string();
        let mut public = Durable::create(home.join("key.pub")).map_err(io())?;
        writeln!(public, "{verifier_key}").and_then(|()| public.finish()).map_err(io())?;
        inbox::set(&home, settings.log_all_access).map_err(io())?;
        let queue = Queue::new(tree.size(), settings.queue_bytes, settings.max_wait);
        let handoff = Arc::new(Handoff::new(tree.clone()));
        let source =
            Arc::new(Source { origin: origin.to_string(), boot_id: Uuid::now_v7(), gateway_version: env!("CARGO_PKG_VERSION") });
        let pen = Arc::new(Pen { queue: queue.clone(), handoff: handoff.clone(), source: source.clone() });
        let signed = Arc::new(AtomicU64::new(signed));
        let threads = Mutex::new(Threads { lock: Some(lock), ..Threads::default() });
        let inner = Inner { pen, home, verifier_key, immutable: settings.immutable, signed, threads };
        inner.say_first(forked, cut, orphans);
        let clock = queue.clone();
        inner.spawn("audit-clock", move || clock.run_clock())?;
        let min_free = settings.min_free;
        let vault = Vault::new(&inner.home, tree.size());
        let framer = Framer { queue: queue.clone(), handoff: handoff.clone(), source, store, segment, tree, vault, min_free };
        inner.spawn("audit-frame", move || framer.run())?;
        let (pause, syncing) = (settings.commit_interval, handoff.clone());
        inner.spawn("audit-sync", move || run_sync(&queue, &syncing, &sync, pause))?;
        let (home, origin, signed) = (inner.home.clone(), origin.to_string(), inner.signed.clone());
        let signing = Signing { handoff, home, origin, key, signed };
        inner.spawn_until_told("audit-sign", move |stop| signing.run(&stop))?;
        let (home, pen, signed) = (inner.home.clone(), inner.pen.clone(), inner.signed.clone());
        let keeper = Keeper { home, pen, signed, retention: settings.retention, age: Age::new(newest) };
        inner.spawn_until_told("audit-keep", move |stop| keeper.run(&stop))?;
        Ok(inner)
    }

    /// What recovery found is the first thing this process has to say.
    fn say_first(&self, forked: Option<Event>, cut: Option<u64>, orphans: Vec<Uuid>) {
        if let Some(event) = forked {
            self.pen.push(Uuid::now_v7(), event.kind(), None, &event, false);
        }
        if let Some(bytes) = cut {
            let now = SystemTime::now();
            let gap = Gap { count: 0, bytes: Some(bytes), from: now, to: now, reason: "torn_tail" };
            self.pen.push(Uuid::now_v7(), Gap::KIND, None, &gap, false);
        }
        for orphan in orphans {
            self.pen.interrupted(orphan, "recovered");
        }
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), AuditError> {
        let thread = Builder::new().name(name.into()).spawn(run).map_err(AuditError::at(&self.home))?;
        self.threads().writing.push(thread);
        Ok(())
    }

    fn spawn_until_told(&self, name: &str, run: impl FnOnce(Receiver<()>) + Send + 'static) -> Result<(), AuditError> {
        let (tell, told) = mpsc::channel();
        let thread = Builder::new().name(name.into()).spawn(move || run(told)).map_err(AuditError::at(&self.home))?;
        self.threads().keeping.push((tell, thread));
        Ok(())
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer. A journal that fails open lets the exchange go on without one.
    pub(super) async fn durable(&self, answer: Option<Answer>) -> Result<(), Unavailable> {
        let Some(answer) = answer else { return Ok(()) };
        match answer.await.unwrap_or(Err(Unavailable::CLOSED)) {
            Err(why) if self.immutable => Err(why),
            _ => Ok(()),
        }
    }

    /// See [`super::Journal::close`].
    pub(super) fn close(&self) {
        self.pen.queue.shut(Unavailable::CLOSED, false);
        let Threads { writing, keeping, lock } = std::mem::take(&mut *self.threads());
        let deadline = Instant::now() + CLOSE_WITHIN;
        let ended = |thread: JoinHandle<()>| {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.is_finished() && thread.join().is_ok()
        };
        // The last checkpoint covers the last record.
        let ended = writing.into_iter().all(&ended)
            && keeping.into_iter().all(|(tell, thread)| {
                drop(tell);
                ended(thread)
            });
        if ended {
            return drop(lock);
        }
        log::error!("audit log: the disk did not take the last records within {CLOSE_WITHIN:?}");
        // A thread may write as long as this process lives, and so long nobody else may.
        std::mem::forget(lock);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
