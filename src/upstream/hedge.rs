//! How many requests may be sent twice: hedging buys speed with load, and this is the purse.

use crate::config::Hedge;
use std::sync::atomic::{AtomicU64, Ordering};

/// One hedge. A binary fixed point, so that a ratio is rounded once, down, and sums are exact.
const ONE: u64 = 1 << 32;
/// A quiet hour must not pay for a storm: no more hedges than this are ever saved up.
const BURST: u64 = 10;

/// A token bucket that requests fill and hedges empty. It begins empty and knows no clock: hedges are at every moment at most
/// `max_ratio` of the requests seen, so they cannot add more load than that, however slow everything becomes.
#[derive(Debug)]
pub struct HedgeBudget {
    saved: AtomicU64,
    per_request: u64,
}

impl HedgeBudget {
    /// An empty purse that fills by `max_ratio` a request.
    pub fn new(hedge: &Hedge) -> Self {
        // A cast from float saturates and makes 0 of NaN: a nonsense ratio hedges nothing, or every request.
        Self { saved: AtomicU64::new(0), per_request: ((hedge.max_ratio * ONE as f64) as u64).min(ONE) }
    }

    /// A request arrived.
    pub fn saw_request(&self) {
        let add = |saved: u64| (saved < BURST * ONE).then(|| (saved + self.per_request).min(BURST * ONE));
        // Full is no failure: there is nothing to add then.
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Pays for one hedge; false when there is not enough.
    pub fn take(&self) -> bool {
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(ONE)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn budget(max_ratio: f64) -> HedgeBudget {
        HedgeBudget::new(&Hedge { after: Duration::from_millis(300), max_ratio })
    }

    #[test]
    fn a_quiet_hour_pays_for_ten_hedges() {
        let budget = budget(0.5);
        (0..100_000).for_each(|_| budget.saw_request());
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
    }

    #[test]
    fn a_nonsense_ratio_pays_for_nothing_or_for_one_hedge_a_request() {
        for (max_ratio, paid) in [(f64::NAN, 0), (-1.0, 0), (0.0, 0), (f64::INFINITY, 4), (7.0, 4)] {
            let budget = budget(max_ratio);
            (0..4).for_each(|_| budget.saw_request());
            assert_eq!((0..100).filter(|_| budget.take()).count(), paid, "{max_ratio}");
        }
    }

    proptest! {
        #[test]
        fn hedges_never_exceed_their_share_of_the_requests(
            max_ratio in 0.0..=0.5f64,
            steps in prop::collection::vec(any::<bool>(), 0..600),
        ) {
            let budget = budget(max_ratio);
            let (mut requests, mut hedges) = (0u32, 0u32);
            for request in steps {
                if request {
                    budget.saw_request();
                    requests += 1;
                } else {
                    hedges += u32::from(budget.take());
                }
                prop_assert!(f64::from(hedges) <= max_ratio * f64::from(requests));
            }
        }

        #[test]
        fn nearly_the_whole_share_is_paid_out(max_ratio in 0.01..=0.5f64) {
            let budget = budget(max_ratio);
            let hedges = (0..1_000).filter(|_| { budget.saw_request(); budget.take() }).count();
            prop_assert!(hedges as f64 > max_ratio * 1_000.0 - 1.5);
        }
    }

    #[test]
    fn threads_together_keep_to_the_share_too() {
        let budget = budget(0.1);
        let hedge = || {
            (0..1_000)
                .filter(|_| {
                    budget.saw_request();
                    budget.take()
                })
                .count()
        };
        let hedges: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(hedge));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((390..=400).contains(&hedges), "{hedges}");
    }
}
