//! How the gateway stops: it says so, takes what still comes for a moment, lets everything under way end, and leaves.
//!
//! Pingora closes its listeners at the first signal, always sleeps its whole grace period and then cuts what is left. So the signal
//! is held back until balancers have seen `/readyz`, and the process leaves by itself as soon as nothing is in flight.

use super::reloader::Reloader;
use super::status::Status;
use crate::audit::journal::Journal;
use crate::audit::record::Event;
use crate::audit::sink::Sinks;
use async_trait::async_trait;
use pingora_core::server::{ExecutionPhase, Server, ShutdownSignal, ShutdownSignalWatch};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long `/readyz` is 503 before the listeners close.
const NOTICE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(20);
/// How long the last records may take to their sinks.
const DELIVERY: Duration = Duration::from_secs(5);

/// SIGTERM and SIGINT drain, a second one cuts, SIGHUP reloads the config.
pub struct Signals {
    /// Turned to draining at the first signal.
    pub status: Arc<Status>,
    /// For SIGHUP.
    pub reloader: Arc<Reloader>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Some(mut terminate), Some(mut interrupt), Some(mut hangup)) =
            (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup()))
        else {
            // Without handlers the signals keep their default action, which ends the process.
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // The outcome is in the log and the journal.
                _ = hangup.recv() => drop(self.reloader.reload().await),
            }
        }
        log::info!("stopping: {} requests are in flight", self.status.in_flight());
        self.status.drain();
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            log::warn!("second signal: cutting what is left");
            std::process::exit(1);
        });
        tokio::time::sleep(NOTICE).await;
        ShutdownSignal::GracefulTerminate
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|e| log::error!("signal {kind:?} cannot be handled: {e}")).ok()
}

/// Ends the process once the listeners are closed and nothing is in flight, or after `limit`.
pub fn exit_when_drained(server: &Server, status: Arc<Status>, journal: Journal, sinks: Option<Sinks>, limit: Duration) {
    let mut phases = server.watch_execution_phase();
    std::thread::spawn(move || {
        while !matches!(phases.blocking_recv(), Ok(ExecutionPhase::ShutdownGracePeriod) | Err(_)) {}
        let began = Instant::now();
        while status.in_flight() > 0 && began.elapsed() < limit {
            std::thread::sleep(POLL);
        }
        let left = status.in_flight();
        if left > 0 {
            log::warn!("{left} requests were still in flight after {limit:?} and are cut");
        }
        journal.note(Event::GatewayStop { reason: "signal".into() });
        journal.close();
        if let Some(sinks) = sinks {
            sinks.finish(DELIVERY);
        }
        std::process::exit(0);
    });
}
