//! One simulated request on its way: its plan, the attempt under way, the race beside it, and what it has done so far.

use super::oracle::Sighting;
use super::provider::Answer;
use crate::upstream::capacity::{Capacity, Place, Waiting};
use crate::upstream::pass::Pass;
use crate::upstream::{Dice, Failure, Plan, Target};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// One request.
pub(super) struct Exchange {
    pub(super) plan: Plan,
    pub(super) dice: Dice,
    pub(super) tokens: u64,
    pub(super) arrived: Duration,
    /// The attempt under way; events of another one come too late.
    pub(super) serial: u64,
    pub(super) current: Option<(Sighting, Answer)>,
    pub(super) race: Race,
    /// The attempt under way failed while its rival still runs: the next one begins after this pause, unless the rival answers.
    pub(super) stands_by: Option<Duration>,
    pub(super) waiting: Option<Waiter>,
    /// For room on this target.
    pub(super) waiting_for: Option<Arc<Target>>,
    /// By target: attempts, and when the first of them began.
    pub(super) tried: Vec<(u32, Option<Duration>)>,
    pub(super) last_failure: Option<(usize, Failure)>,
    pub(super) answered: bool,
    /// Every attempt and every hedge that left.
    pub(super) left: usize,
}

/// The attempt beside the current one.
pub(super) enum Race {
    /// None, or none any more.
    Off,
    /// It begins when the current one is slow.
    Ready {
        step: usize,
        target: usize,
    },
    Running {
        serial: u64,
        step: usize,
        model: Arc<str>,
        began: Duration,
        pass: Pass,
        sighting: Sighting,
        answer: Box<Answer>,
    },
}

/// A request that waits for room, polled when it was woken, as a runtime does.
pub(super) struct Waiter {
    _queued: Waiting,
    place: Pin<Box<dyn Future<Output = Place>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Waiter {
    pub(super) fn new(queued: Waiting, capacity: &Arc<Capacity>, limit: Option<u32>) -> Self {
        let capacity = capacity.clone();
        let place = Box::pin(async move { capacity.wait(limit).await });
        Self { _queued: queued, place, woken: Arc::new(Woken(AtomicBool::new(true))) }
    }

    /// A place, if there is one by now.
    pub(super) fn poll(&mut self) -> Option<Place> {
        if !self.woken.0.swap(false, Ordering::Relaxed) {
            return None;
        }
        match self.place.as_mut().poll(&mut Context::from_waker(&Waker::from(self.woken.clone()))) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }
}
