//! Whether a target can serve, learnt from probes and from the traffic itself.

use std::sync::atomic::{AtomicU32, Ordering};

/// Consecutive failures after which a target is tried last.
const FAILURES_TO_UNHEALTHY: u32 = 3;

/// Counts consecutive failures of one target. Lock-free: the request path reads it and the outcome of each attempt writes it.
#[derive(Debug, Default)]
pub struct Health {
    failures: AtomicU32,
}

impl Health {
    /// A probe or an attempt got an answer. True when this turned the target healthy.
    pub fn succeeded(&self) -> bool {
        self.failures.swap(0, Ordering::Relaxed) >= FAILURES_TO_UNHEALTHY
    }

    /// A probe or an attempt got none, or a server error. True when this turned the target unhealthy.
    pub fn failed(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 == FAILURES_TO_UNHEALTHY
    }

    /// Unhealthy targets are not skipped, only tried after the healthy ones: with nothing better, a doubtful target beats none.
    pub fn is_healthy(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES_TO_UNHEALTHY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_turns_unhealthy_once_and_recovers_at_the_first_success() {
        let health = Health::default();
        let turned: Vec<bool> = (0..5).map(|_| health.failed()).collect();
        assert_eq!(turned, [false, false, true, false, false]);
        assert!(!health.is_healthy());
        assert!(health.succeeded());
        assert!(health.is_healthy());
        assert!(!health.succeeded());
    }
}
