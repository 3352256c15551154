//! Copies of the audit log, on their way to places that the owner of this machine cannot rewrite.
//!
//! ```text
//! journal ── durable ──> courier: reads entries by index, in order                read, courier
//!                     -> bundle: consecutive entries, byte for byte               bundle
//!                     -> bookmark: which bundle leaves, written down before       bookmark
//!                     -> s3 | nats | otlp: kept there, or tried again later       destination
//!
//! checkpoint ── every minute ──> object store, system log                         anchor
//! ```
//!
//! All of it runs on one thread of its own: nothing here is waited for by a request, and a sink that is down costs a lag and no
//! more. Files are read and synced on that thread too, for it has nothing better to do.
//!
//! The key of an entry is its log and its index. A receiver proves that it has everything by the indices, which have no gaps,
//! and that it has the right thing by a checkpoint. Integrity never rests on the sink.

mod anchor;
mod backoff;
mod bookmark;
mod bundle;
mod courier;
mod destination;
mod keys;
mod nats;
mod otlp;
mod remains;
mod s3;
mod system_log;

#[cfg(test)]
mod tests;

pub use bundle::Bundle;
pub use keys::Environment;

use super::Journal;
use super::origin::Origin;
use crate::config::{AnchorConfig, SinkConfig};
use anchor::Anchor;
use backoff::{Backoff, chance};
use courier::{Courier, Step};
use destination::Pace;
use futures::future::{BoxFuture, join_all};
use remains::Remains;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the journal is asked what is durable.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often logs that were left behind are looked for.
const REMAINS_EVERY: Duration = Duration::from_secs(60);

/// The couriers of one gateway. Dropping it leaves what is not delivered to the next start.
pub struct Sinks {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Whether the keys of a sink can be had now; the error is for the operator and never shows one. Speaks to nobody.
///
/// # Errors
/// A variable that is not set, a file that cannot be read, a value that cannot be a key.
pub fn check_keys(sink: &SinkConfig, env: &Environment) -> Result<(), String> {
    keys::check(&sink.kind, env)
}

/// What the couriers of one gateway share.
#[derive(Clone)]
struct Scene {
    dir: PathBuf,
    origin: Origin,
    journal: Journal,
    env: Environment,
    stop: watch::Receiver<bool>,
}

impl Sinks {
    /// Starts delivering the log that `journal` writes below `dir`, and those that were left there. Starts a thread, so a process
    /// that forks must do it first. `None` when there is nothing to do.
    ///
    /// # Errors
    /// The thread or its runtime cannot be had.
    pub fn start(
        dir: &Path,
        journal: &Journal,
        sinks: &[SinkConfig],
        anchor: Option<&AnchorConfig>,
        env: Environment,
    ) -> io::Result<Option<Sinks>> {
        let Some(origin) = journal.origin().filter(|_| !sinks.is_empty() || anchor.is_some()) else { return Ok(None) };
        // What a killed process left is taken for durable by its successor; before it leaves, it is.
        if let Err(error) = remains::sync(dir, &origin) {
            log::warn!("audit sinks: {error}");
        }
        let (stop, stopped) = watch::channel(false);
        let scene = Scene { dir: dir.to_path_buf(), origin, journal: journal.clone(), env, stop: stopped };
        let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
        for sink in sinks {
            tasks.push(Box::pin(carry(scene.clone(), sink.clone())));
            tasks.push(Box::pin(carry_remains(scene.clone(), sink.clone())));
        }
        if let Some(config) = anchor {
            let anchor = Anchor::new(dir, &scene.origin, config, &scene.env);
            tasks.push(Box::pin(drop_anchor(scene.clone(), anchor, config.every)));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = Builder::new().name("audit-sinks".into()).spawn(move || drop(runtime.block_on(join_all(tasks))))?;
        Ok(Some(Sinks { stop, thread: Some(thread) }))
    }

    /// Delivers what is durable now, as long as each sink takes it, and stops; gives up after `within`. The journal should be
    /// closed by then. What is not delivered is delivered after the next start.
    pub fn finish(mut self, within: Duration) {
        // Nobody listening means that the thread is gone.
        let _ = self.stop.send(true);
        let deadline = Instant::now() + within;
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        match thread.is_finished() {
            true => drop(thread.join()),
            false => log::warn!("audit sinks: not everything was delivered within {within:?}; the next start goes on"),
        }
    }
}

impl Scene {
    /// Index behind the last durable entry.
    fn bound(&self) -> u64 {
        self.journal.status().durable_index.map_or(0, |last| last + 1)
    }

    /// Waits; true when everything stops.
    async fn pause(&mut self, pause: Duration) -> bool {
        // A sender that is gone stops everything too.
        tokio::time::timeout(pause, self.stop.wait_for(|stop| *stop)).await.is_ok()
    }
}

/// Carries the gateway's own log to one sink until everything stops.
async fn carry(mut scene: Scene, sink: SinkConfig) {
    let pace = Pace::of(&sink);
    let mut courier = Courier::new(&scene.dir, &scene.origin, &sink.name, destination::open(&sink, &scene.env));
    // When the oldest entry that waits was first seen.
    let mut waiting: Option<Instant> = None;
    let mut stopping = false;
    loop {
        let bound = scene.bound();
        let behind = courier.behind(bound);
        if behind > 0 {
            waiting.get_or_insert_with(Instant::now);
        }
        let due = waiting.is_some_and(|since| since.elapsed() >= pace.flush) || behind >= pace.enough;
        let step = if due || stopping || behind == 0 { courier.step(bound, chance()).await } else { Step::Done };
        let pause = match step {
            Step::Delivered { more } => {
                waiting = None;
                if more { Duration::ZERO } else { LOOK_EVERY.min(pace.flush) }
            }
            Step::Done if stopping => return,
            Step::Failed(_) if stopping => return,
            Step::Done => LOOK_EVERY,
            Step::Failed(pause) => pause,
        };
        if !stopping && !pause.is_zero() {
            stopping = scene.pause(pause).await;
        }
    }
}

/// Carries the logs that were left behind to one sink, now and whenever there is a new one.
async fn carry_remains(mut scene: Scene, sink: SinkConfig) {
    loop {
        for remains in Remains::find(&scene.dir, &scene.origin, &sink) {
            if *scene.stop.borrow() {
                return;
            }
            remains.carry(scene.dir.clone(), &sink, &scene.env).await;
        }
        if scene.pause(REMAINS_EVERY).await {
            return;
        }
    }
}

/// Copies checkpoints every so often, and a last time at the end.
async fn drop_anchor(mut scene: Scene, mut anchor: Anchor, every: Duration) {
    let mut backoff = Backoff::default();
    loop {
        let pause = match anchor.copy().await {
            true => {
                backoff.reset();
                every
            }
            false => backoff.pause(None, chance()).min(every),
        };
        if scene.pause(pause).await {
            anchor.copy().await;
            return;
        }
    }
}
