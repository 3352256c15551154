//! The queue between exchanges and the disk: gives records their index, bounds the bytes that wait, and keeps the callers who
//! wait, for room or for the disk.
//!
//! One lock, held for a few dozen nanoseconds by everyone: exchanges (push), the framing thread (take), the sync thread
//! (settle) and the clock thread (expire). Nobody sends to a waiter or drops a [`Room`] while holding it. All waits share one
//! length, so both lists of waiters are in the order of their deadlines and the oldest is always in front.

use super::journal::Unavailable;
use super::merkle::Hash;
use super::vault::Placed;
use super::work::{Entry, Loss, Work};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// Room an exchange reserves for its last record. A larger one may exceed the bound: by at most one entry an exchange.
pub(super) const ROOM: usize = 4096;
/// Losses of so long become one record.
const GAP_EVERY: Duration = Duration::from_secs(1);

/// Whether exchanges are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// The file system is nearly full: nothing new, but what was admitted is written.
    Full,
    /// The disk fails: nothing new until it is well again; what was admitted is kept until then.
    Suspended(Unavailable),
    /// Nothing is written any more.
    Shut(Unavailable),
}

/// A reserved place; dropping it gives the room back.
pub(super) struct Room(Arc<Queue>);

impl Drop for Room {
    fn drop(&mut self) {
        let granted = {
            let mut state = self.0.lock();
            state.used = state.used.saturating_sub(ROOM);
            self.0.grant(&mut state)
        };
        send_all(granted);
    }
}

/// See the module.
pub(super) struct Queue {
    state: Mutex<State>,
    framer: Condvar,
    clock: Condvar,
    limit: usize,
    max_wait: Duration,
}

struct State {
    gate: Gate,
    entries: Vec<Entry>,
    /// Index of the next record.
    next: u64,
    /// Bytes reserved, waiting, or written and not yet durable.
    used: usize,
    durable: VecDeque<Waiter<()>>,
    room: VecDeque<Waiter<Room>>,
    loss: Option<Loss>,
    /// Records that found the gate shut.
    lost: u64,
    reappend: bool,
    framer_sleeps: bool,
    clock_sleeps: bool,
}

impl State {
    fn append(&mut self, bytes: Vec<u8>, leaf: Hash, deposit: Option<Arc<Placed>>) -> u64 {
        let entry = Entry { bytes: bytes.into(), leaf, deposit, pushed: Instant::now() };
        let index = self.next;
        self.next += 1;
        self.used += entry.weight();
        self.entries.push(entry);
        index
    }
}

struct Waiter<T> {
    /// For the disk: the index it waits for.
    index: u64,
    deadline: Instant,
    answer: Answer<T>,
}

type Answer<T> = oneshot::Sender<Result<T, Unavailable>>;
type Granted = Vec<(Answer<Room>, Room)>;

impl Queue {
    pub(super) fn new(next: u64, limit: usize, max_wait: Duration) -> Arc<Queue> {
        let state = State {
            gate: Gate::Open,
            entries: Vec::new(),
            next,
            used: 0,
            durable: VecDeque::new(),
            room: VecDeque::new(),
            loss: None,
            lost: 0,
            reappend: false,
            framer_sleeps: false,
            clock_sleeps: false,
        };
        let limit = limit.max(ROOM);
        Arc::new(Queue { state: Mutex::new(state), framer: Condvar::new(), clock: Condvar::new(), limit, max_wait })
    }

    /// Reserves room for an exchange, waiting for it no longer than `max_wait`.
    pub(super) async fn admit(self: &Arc<Self>) -> Result<Room, Unavailable> {
        let answer = {
            let mut state = self.lock();
            match state.gate {
                Gate::Open => {}
                Gate::Full => return Err(Unavailable::DISK_FULL),
                Gate::Suspended(why) | Gate::Shut(why) => return Err(why),
            }
            if state.room.is_empty() && state.used + ROOM <= self.limit {
                state.used += ROOM;
                return Ok(Room(self.clone()));
            }
            let (sender, answer) = oneshot::channel();
            state.room.push_back(Waiter { index: 0, deadline: Instant::now() + self.max_wait, answer: sender });
            self.wake_clock(&mut state);
            answer
        };
        answer.await.unwrap_or(Err(Unavailable::CLOSED))
    }

    /// Gives a record its index; never waits. The answer, if wanted, comes when the record is durable or the wait is over.
    pub(super) fn push(
        &self,
        bytes: Vec<u8>,
        leaf: Hash,
        deposit: Option<Arc<Placed>>,
        wanted: bool,
    ) -> Option<oneshot::Receiver<Result<(), Unavailable>>> {
        let (sender, answer) = if wanted { Some(oneshot::channel()) } else { None }.unzip();
        let mut state = self.lock();
        let (why, kept) = match state.gate {
            Gate::Open | Gate::Full => (None, true),
            // It is kept until the disk is well again, but nobody is to wait for that.
            Gate::Suspended(why) => (Some(why), true),
            Gate::Shut(why) => (Some(why), false),
        };
        let index = match kept {
            true => state.append(bytes, leaf, deposit),
            false => state.next,
        };
        state.lost += u64::from(!kept);
        match (sender, why) {
            (None, _) => {}
            (Some(answer), None) => {
                state.durable.push_back(Waiter { index, deadline: Instant::now() + self.max_wait, answer });
                self.wake_clock(&mut state);
            }
            (Some(answer), Some(why)) => {
                drop(state);
                // The other end is in hand, so somebody hears it.
                let _ = answer.send(Err(why));
                state = self.lock();
            }
        }
        self.wake_framer(&mut state);
        answer
    }

    /// Pushes past a shut gate: for the framing thread's own last words.
    pub(super) fn push_own(&self, bytes: Vec<u8>, leaf: Hash) {
        self.lock().append(bytes, leaf, None);
    }

    /// Whether so much waits that nothing unasked should be added.
    pub(super) fn is_crowded(&self) -> bool {
        self.lock().used > self.limit / 2
    }

    /// Counts an exchange that passes without a record.
    pub(super) fn lose(&self, why: Unavailable) {
        let mut state = self.lock();
        let now = SystemTime::now();
        match &mut state.loss {
            Some(loss) => (loss.count, loss.to) = (loss.count + 1, now),
            loss => *loss = Some(Loss { count: 1, from: now, to: now, reason: why.0 }),
        }
        state.lost += 1;
    }

    /// The framing thread: waits for something to do, a second at most. `batch` comes empty and takes what waits.
    pub(super) fn take(&self, batch: &mut Vec<Entry>) -> Work {
        let mut state = self.lock();
        let mut rested = false;
        loop {
            if std::mem::take(&mut state.reappend) {
                return Work::Reappend;
            }
            let closing = matches!(state.gate, Gate::Shut(_));
            let due = |loss: &mut Loss| closing || loss.from.elapsed().is_ok_and(|age| age >= GAP_EVERY);
            if matches!(state.gate, Gate::Open | Gate::Shut(_))
                && let Some(loss) = state.loss.take_if(due)
            {
                return Work::Gap(loss);
            }
            if !state.entries.is_empty() {
                std::mem::swap(&mut state.entries, batch);
                return Work::Write;
            }
            if closing {
                return Work::Finish;
            }
            if rested {
                return Work::Idle;
            }
            state.framer_sleeps = true;
            let waited = self.framer.wait_timeout(state, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            state.framer_sleeps = false;
            rested = waited.1.timed_out();
        }
    }

    /// The sync thread: all before `durable` is on disk, `weight` of it new.
    pub(super) fn settle(self: &Arc<Self>, durable: u64, weight: usize) {
        let mut released = Vec::new();
        let granted = {
            let mut state = self.lock();
            state.used = state.used.saturating_sub(weight);
            if matches!(state.gate, Gate::Suspended(_)) {
                state.gate = Gate::Open;
                log::info!("audit log: the disk takes records again");
            }
            while let Some(waiter) = state.durable.pop_front_if(|waiter| waiter.index < durable) {
                released.push(waiter.answer);
            }
            self.grant(&mut state)
        };
        for answer in released {
            // Whoever stopped waiting needs no answer.
            let _ = answer.send(Ok(()));
        }
        send_all(granted);
    }

    /// The sync thread: a sync failed, what it covered must be written anew.
    pub(super) fn ask_reappend(&self) {
        let mut state = self.lock();
        state.reappend = true;
        self.wake_framer(&mut state);
    }

    /// Opens or closes the gate for want of disk space; a shut gate stays shut.
    pub(super) fn set_full(&self, full: bool) {
        let mut state = self.lock();
        match (state.gate, full) {
            (Gate::Open, true) => {
                state.gate = Gate::Full;
                let waiters = std::mem::take(&mut state.room);
                drop(state);
                refuse_all(waiters, Unavailable::DISK_FULL);
            }
            (Gate::Full, false) => state.gate = Gate::Open,
            _ => {}
        }
    }

    /// Admits nobody until a sync succeeds, and tells everyone who waits.
    pub(super) fn suspend(&self, why: Unavailable) {
        let mut state = self.lock();
        if !matches!(state.gate, Gate::Shut(_)) {
            state.gate = Gate::Suspended(why);
        }
        let (room, durable) = (std::mem::take(&mut state.room), std::mem::take(&mut state.durable));
        drop(state);
        refuse_all(room, why);
        refuse_all(durable, why);
    }

    /// The framing thread: does nothing for a while. False as soon as the gate is shut.
    pub(super) fn rest(&self, how_long: Duration) -> bool {
        let until = Instant::now() + how_long;
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match state.gate {
                Gate::Shut(_) => return false,
                _ if left.is_zero() => return true,
                _ => state.framer_sleeps = true,
            }
            state = self.framer.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.framer_sleeps = false;
        }
    }

    /// Shuts the gate. `now` also gives up what waits: nothing more can be written.
    pub(super) fn shut(&self, why: Unavailable, now: bool) {
        let mut state = self.lock();
        if !matches!(state.gate, Gate::Shut(_)) {
            state.gate = Gate::Shut(why);
        }
        let room = std::mem::take(&mut state.room);
        let mut durable = VecDeque::new();
        if now {
            state.lost += state.entries.len() as u64;
            state.entries.clear();
            durable = std::mem::take(&mut state.durable);
        }
        self.wake_framer(&mut state);
        self.wake_clock(&mut state);
        drop(state);
        refuse_all(room, why);
        refuse_all(durable, why);
    }

    /// The clock thread: tells the waiters whose time is over, until the gate is shut and nobody waits.
    pub(super) fn run_clock(&self) {
        let tick = (self.max_wait / 8).clamp(Duration::from_millis(1), Duration::from_millis(25));
        let (mut state, mut quiet) = (self.lock(), false);
        loop {
            let now = Instant::now();
            let (mut late_room, mut late_durable) = (VecDeque::new(), VecDeque::new());
            while let Some(waiter) = state.room.pop_front_if(|waiter| waiter.deadline <= now) {
                late_room.push_back(waiter);
            }
            while let Some(waiter) = state.durable.pop_front_if(|waiter| waiter.deadline <= now) {
                late_durable.push_back(waiter);
            }
            if !(late_room.is_empty() && late_durable.is_empty()) {
                drop(state);
                refuse_all(late_room, Unavailable::QUEUE_FULL);
                refuse_all(late_durable, Unavailable::DISK_SLOW);
                state = self.lock();
                continue;
            }
            let nobody = state.room.is_empty() && state.durable.is_empty();
            if nobody && matches!(state.gate, Gate::Shut(_)) {
                return;
            }
            // It ticks while somebody waits and one tick longer; only then does the next waiter have to wake it.
            state.clock_sleeps = nobody && quiet;
            state = if state.clock_sleeps {
                self.clock.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.clock.wait_timeout(state, tick).unwrap_or_else(PoisonError::into_inner).0
            };
            quiet = nobody;
            state.clock_sleeps = false;
        }
    }

    /// Next index, bytes used, age of the oldest record that no thread has taken, records lost, and the gate.
    pub(super) fn look(&self) -> (u64, usize, Option<Instant>, u64, Gate) {
        let state = self.lock();
        (state.next, state.used, state.entries.first().map(|entry| entry.pushed), state.lost, state.gate)
    }

    fn grant(self: &Arc<Self>, state: &mut State) -> Granted {
        let mut granted = Vec::new();
        while state.gate == Gate::Open && state.used + ROOM <= self.limit {
            let Some(waiter) = state.room.pop_front() else { break };
            state.used += ROOM;
            granted.push((waiter.answer, Room(self.clone())));
        }
        granted
    }

    fn wake_framer(&self, state: &mut State) {
        if std::mem::take(&mut state.framer_sleeps) {
            self.framer.notify_one();
        }
    }

    fn wake_clock(&self, state: &mut State) {
        if std::mem::take(&mut state.clock_sleeps) {
            self.clock.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer nobody takes hands its room on: its drop takes the lock, which is free here.
fn send_all(granted: Granted) {
    for (answer, room) in granted {
        let _ = answer.send(Ok(room));
    }
}

fn refuse_all<T>(waiters: VecDeque<Waiter<T>>, why: Unavailable) {
    for waiter in waiters {
        let _ = waiter.answer.send(Err(why));
    }
}
