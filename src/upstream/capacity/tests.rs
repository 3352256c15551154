//! Every order of arriving, leaving, waking and giving up that the generator finds, run without a runtime or a clock.

use super::*;
use proptest::prelude::*;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll, Wake, Waker};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A request that waits, polled only when it was woken, as a runtime does.
struct Waiter {
    arrived: usize,
    future: Pin<Box<dyn Future<Output = Place>>>,
    woken: Arc<Woken>,
}

impl Waiter {
    fn new(capacity: &Arc<Capacity>, limit: Option<u32>, arrived: usize) -> Self {
        let capacity = capacity.clone();
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { arrived, future: Box::pin(async move { capacity.wait(limit).await }), woken }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }

    fn poll(&mut self) -> Option<Place> {
        self.woken.0.store(false, Ordering::SeqCst);
        match self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(self.woken.clone()))) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enter,
    Wait,
    Leave(usize),
    Run(usize),
    GiveUp(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Enter),
        3 => Just(Step::Wait),
        4 => any::<usize>().prop_map(Step::Leave),
        3 => any::<usize>().prop_map(Step::Run),
        1 => any::<usize>().prop_map(Step::GiveUp),
    ]
}

/// Takes the item `pick` falls on.
fn pick<T>(items: &mut Vec<T>, pick: usize) -> Option<T> {
    (!items.is_empty()).then(|| items.remove(pick % items.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn places_are_bounded_in_order_and_never_idle_while_somebody_waits(
        limit in 1u32..4,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let capacity = Arc::new(Capacity::default());
        let (mut places, mut waiters) = (Vec::new(), Vec::<Waiter>::new());
        for (arrived, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter => places.extend(capacity.enter(Some(limit))),
                Step::Wait => {
                    let mut waiter = Waiter::new(&capacity, Some(limit), arrived);
                    match waiter.poll() {
                        Some(place) => places.push(place),
                        None => waiters.push(waiter),
                    }
                }
                Step::Leave(at) => drop(pick(&mut places, at)),
                Step::GiveUp(at) => drop(pick(&mut waiters, at)),
                Step::Run(at) => {
                    let mut woken: Vec<usize> = (0..waiters.len()).filter(|&at| waiters[at].is_woken()).collect();
                    if let Some(at) = pick(&mut woken, at) {
                        let place = waiters[at].poll();
                        prop_assert!(place.is_some(), "a waiter was woken for nothing");
                        places.extend(place);
                        waiters.remove(at);
                    }
                }
            }
            prop_assert_eq!(capacity.in_flight(), places.len());
            prop_assert_eq!(capacity.waiting(), waiters.len());
            prop_assert!(places.len() <= limit as usize);
            // As many are woken as there is room for, and they are the first in line.
            let room = limit as usize - places.len();
            prop_assert!(waiters.is_sorted_by_key(|waiter| waiter.arrived));
            prop_assert!(waiters.iter().take(room).all(Waiter::is_woken), "a place is idle while the first in line sleeps");
        }
    }

    #[test]
    fn nobody_waits_for_good_while_limits_change(
        steps in prop::collection::vec((step(), prop::option::of(1u32..4)), 0..60),
    ) {
        let capacity = Arc::new(Capacity::default());
        let (mut places, mut waiters) = (Vec::new(), Vec::<Waiter>::new());
        for (step, limit) in steps {
            match step {
                Step::Enter => places.extend(capacity.enter(limit)),
                Step::Wait => waiters.push(Waiter::new(&capacity, limit, 0)),
                Step::Leave(at) => drop(pick(&mut places, at)),
                Step::GiveUp(at) => drop(pick(&mut waiters, at)),
                Step::Run(_) => run(&mut waiters, &mut places),
            }
        }
        // Everybody in flight leaves, and so on, until nobody is left.
        for _ in 0..60 {
            run(&mut waiters, &mut places);
            places.clear();
        }
        prop_assert_eq!((waiters.len(), capacity.waiting(), capacity.in_flight()), (0, 0, 0));
    }
}

/// Polls whoever is woken until nobody is.
fn run(waiters: &mut Vec<Waiter>, places: &mut Vec<Place>) {
    while let Some(at) = waiters.iter().position(Waiter::is_woken) {
        if let Some(place) = waiters[at].poll() {
            places.push(place);
            waiters.remove(at);
        }
    }
}

#[test]
fn without_a_limit_there_is_always_a_place() {
    let capacity = Arc::new(Capacity::default());
    let places: Vec<Place> = (0..1_000).filter_map(|_| capacity.enter(None)).collect();
    assert_eq!((places.len(), capacity.in_flight()), (1_000, 1_000));
    assert!(capacity.enter(Some(1_000)).is_none());
    drop(places);
    assert_eq!(capacity.in_flight(), 0);
}

#[test]
fn a_full_queue_lets_nobody_else_wait() {
    let queue = Queue::new(2);
    let (first, second) = (queue.join(), queue.join());
    assert!(first.is_some() && second.is_some() && queue.join().is_none());
    drop(first);
    assert_eq!(queue.waiting(), 1);
    assert!(queue.join().is_some());
    assert!(Queue::new(0).join().is_none());
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, which sleeps until it is woken.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn threads_share_the_places_and_everybody_gets_one() {
    let capacity = Arc::new(Capacity::default());
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let place = block_on(capacity.wait(Some(2)));
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                }
            });
        }
    });
    assert_eq!((capacity.in_flight(), capacity.waiting()), (0, 0));
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
}
