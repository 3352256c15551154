//! How much is going on at once, and who waits for it to be less: bounds for one target and for the whole gateway.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Counts the requests in flight and those that wait, and lets waiters in one by one, first come, first served.
///
/// Both counts share one word, so that "is there room beyond what the line in front of me will take" is one question with one
/// answer. What keeps wake-ups from being lost: as long as there is room and somebody waits, as many have been woken as there is
/// room for. Hence (1) a newcomer who finds more room than waiters enters, and is otherwise counted as a waiter in the same step;
/// (2) it stands in the list of `freed` before it is counted, so that whoever frees a place and sees it counted also finds it;
/// (3) a waiter that gives up is first uncounted and then hands on a wake-up that already reached it.
///
/// The limit comes from the config and may change with a reload, so callers bring it. While two limits are in use a waiter may be
/// passed over until one more place is free, never for good.
#[derive(Debug, Default)]
pub struct Capacity {
    load: AtomicU64,
    freed: Notify,
}

impl Capacity {
    /// Requests that hold a place.
    pub fn in_flight(&self) -> usize {
        in_flight(self.load.load(Ordering::Relaxed)) as usize
    }

    /// Requests that wait for one.
    pub fn waiting(&self) -> usize {
        waiting(self.load.load(Ordering::Relaxed)) as usize
    }

    /// A place, if fewer than `limit` are taken and nobody who waits has a better claim to it. Always one without a limit.
    pub fn enter(self: &Arc<Self>, limit: Option<u32>) -> Option<Place> {
        let admit = |load: u64| (room(load, limit) > waiting(load)).then_some(load + PLACE);
        self.change(admit).then(|| Place(self.clone()))
    }

    /// A place, now or when one is freed. Waits without end: the caller sets the time limit and may drop this future at any time.
    pub async fn wait(self: &Arc<Self>, limit: Option<u32>) -> Place {
        if let Some(place) = self.enter(limit) {
            return place;
        }
        let mut freed = pin!(self.freed.notified());
        // A wake-up that was stored because nobody was in the list belongs to nobody; taking it would jump the line.
        while freed.as_mut().enable() {
            freed.set(self.freed.notified());
        }
        let Some(line) = self.enter_or_line_up(limit).err() else { return Place(self.clone()) };
        loop {
            freed.as_mut().await;
            // Back in the list before looking: what is freed from here on is not missed.
            freed.set(self.freed.notified());
            freed.as_mut().enable();
            let admit = |load: u64| (room(load, limit) > 0).then_some(load + PLACE - WAITER);
            if self.change(admit) {
                std::mem::forget(line); // no longer counted as a waiter, in that same step
                return Place(self.clone());
            }
        }
    }

    /// One step decides: a place was taken, or the caller is counted as a waiter.
    fn enter_or_line_up(&self, limit: Option<u32>) -> Result<(), InLine<'_>> {
        let step = |load: u64| Some(if room(load, limit) > waiting(load) { load + PLACE } else { load + WAITER });
        match self.load.fetch_update(Ordering::AcqRel, Ordering::Acquire, step) {
            Ok(before) | Err(before) if room(before, limit) > waiting(before) => Ok(()),
            _ => Err(InLine(self)),
        }
    }

    fn change(&self, step: impl FnMut(u64) -> Option<u64>) -> bool {
        self.load.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).is_ok()
    }
}

/// The lower half of the word counts places, the upper half waiters: four billion of either outlast the memory.
const PLACE: u64 = 1;
const WAITER: u64 = 1 << 32;

fn in_flight(load: u64) -> u32 {
    (load & (WAITER - 1)) as u32
}

fn waiting(load: u64) -> u32 {
    (load >> 32) as u32
}

fn room(load: u64, limit: Option<u32>) -> u32 {
    limit.map_or(u32::MAX, |limit| limit.saturating_sub(in_flight(load)))
}

/// One request in flight. Dropping it frees the place and wakes the first in line.
#[derive(Debug)]
#[must_use = "the place is free again as soon as this is dropped"]
pub struct Place(Arc<Capacity>);

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.load.fetch_sub(PLACE, Ordering::AcqRel);
        if waiting(before) > 0 {
            self.0.freed.notify_one();
        }
    }
}

/// One waiter, counted. Dropped when it gives up.
struct InLine<'a>(&'a Capacity);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.load.fetch_sub(WAITER, Ordering::AcqRel);
    }
}

/// How many requests may wait at all. Beyond that they are refused at once, which is kinder than a wait that ends in a refusal.
#[derive(Debug)]
pub struct Queue {
    line: Arc<Capacity>,
    max_waiting: u32,
}

impl Queue {
    /// Room for `max_waiting`; 0 lets nobody wait.
    pub fn new(max_waiting: u32) -> Self {
        Self { line: Arc::default(), max_waiting }
    }

    /// The same queue with room for another number: who waits, waits on, and is counted.
    pub fn with_room(&self, max_waiting: u32) -> Self {
        Self { line: self.line.clone(), max_waiting }
    }

    /// The right to wait, until dropped; `None` when the queue is full.
    pub fn join(&self) -> Option<Waiting> {
        self.line.enter(Some(self.max_waiting)).map(Waiting)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.line.in_flight()
    }
}

/// One request that waits. Dropping it makes room in the queue.
#[derive(Debug)]
#[must_use = "the queue forgets this request as soon as this is dropped"]
pub struct Waiting(#[expect(dead_code, reason = "held for its drop")] Place);

#[cfg(test)]
mod tests;
