//! Whether the gateway takes traffic, and how much of it is under way.

use crate::audit::Journal;
use crate::gateway::Gateway;
use crate::metrics::METRICS;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Shared by all listeners.
#[derive(Debug)]
pub struct Status {
    began: Instant,
    draining: AtomicBool,
    in_flight: AtomicUsize,
    total: AtomicU64,
}

impl Default for Status {
    fn default() -> Self {
        Self { began: Instant::now(), draining: AtomicBool::new(false), in_flight: AtomicUsize::new(0), total: AtomicU64::new(0) }
    }
}

/// One LLM request under way; dropping it ends it.
#[derive(Debug)]
pub struct InFlight(Arc<Status>);

impl Status {
    /// Counts an LLM request in.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        METRICS.in_flight.inc();
        InFlight(self.clone())
    }

    /// LLM requests since the start.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// LLM requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Since the process started.
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Begins to turn traffic away: `/readyz` says so, requests are still served.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether [`Status::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Why traffic should go elsewhere, if it should.
    pub fn not_ready(&self, gateway: &Gateway, journal: &Journal) -> Option<&'static str> {
        let must_record = gateway.audit.as_ref().is_some_and(|audit| audit.immutable);
        match () {
            () if self.is_draining() => Some("draining"),
            () if !gateway.enabled => Some("pack.enabled is false"),
            () if !gateway.is_ready() => Some("no target has its key"),
            () if must_record && !journal.status().admitting => Some("the audit log takes no records"),
            () => None,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        METRICS.in_flight.dec();
    }
}
