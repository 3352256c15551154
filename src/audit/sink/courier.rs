//! Carries the entries of one log to one sink: in order, each at least once, and the same bundle again when in doubt.

use super::backoff::Backoff;
use super::bookmark::{Bookmark, Place};
use super::bundle::Bundle;
use super::destination::{Destination, Failure};
use crate::audit::AuditError;
use crate::audit::origin::Origin;
use crate::audit::read::{Cursor, ReadError, Stop};
use crate::metrics::METRICS;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One log on its way to one sink.
pub(super) struct Courier {
    dir: PathBuf,
    origin: Origin,
    /// The sink's name.
    name: String,
    destination: Box<dyn Destination>,
    backoff: Backoff,
    /// `None` until the first step that succeeds in finding out.
    way: Option<Way>,
    /// The lag this courier has told the metric.
    lag: i64,
}

/// How far it is.
struct Way {
    bookmark: Bookmark,
    cursor: Cursor,
    /// The bundle under way.
    bundle: Option<Bundle>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Everything below the bound is delivered.
    Done,
    /// A bundle was delivered. `more` is there for another full one.
    Delivered {
        /// There is.
        more: bool,
    },
    /// It did not work; to be tried again after this.
    Failed(Duration),
}

impl Courier {
    /// A courier for the log of `origin` below `dir`. Nothing is looked at before the first step.
    pub fn new(dir: &Path, origin: &Origin, name: &str, destination: Box<dyn Destination>) -> Courier {
        let (dir, origin, name) = (dir.to_path_buf(), origin.clone(), name.to_owned());
        Courier { dir, origin, name, destination, backoff: Backoff::default(), way: None, lag: 0 }
    }

    /// How many entries below `bound` are not known to be delivered; also told to the metrics.
    pub fn behind(&mut self, bound: u64) -> u64 {
        let next = self.way.as_ref().map(|way| way.bookmark.at().next);
        let behind = bound.saturating_sub(next.unwrap_or(0));
        let lag = i64::try_from(behind).unwrap_or(i64::MAX);
        METRICS.audit_sink_lag.with_label_values(&[&self.name]).add(lag - self.lag);
        self.lag = lag;
        if let Some(next) = next {
            let index = i64::try_from(next).unwrap_or(i64::MAX) - 1;
            METRICS.audit_sink_index.with_label_values(&[&self.name, self.origin.as_str()]).set(index);
        }
        behind
    }

    /// Delivers the next bundle of entries below `bound`, which are all durable. `chance` spreads the pause after a failure.
    pub async fn step(&mut self, bound: u64, chance: f64) -> Step {
        let step = match self.advance(bound).await {
            Ok(step) => {
                self.backoff.reset();
                step
            }
            Err(failure) => {
                METRICS.audit_sink_failures.with_label_values(&[&self.name]).inc();
                let asked = if let Failure::Later { after, .. } = &failure { *after } else { None };
                let pause = self.backoff.pause(asked, chance);
                log::warn!("audit sink {} ({}): {failure}; next try in {:.1} s", self.name, self.origin, pause.as_secs_f64());
                Step::Failed(pause)
            }
        };
        self.behind(bound);
        step
    }

    async fn advance(&mut self, bound: u64) -> Result<Step, Failure> {
        if self.way.is_none() {
            let way = self.find(bound).await?;
            self.way = Some(way);
        }
        let Some(way) = &mut self.way else { return Ok(Step::Done) };
        let mut more = false;
        if way.bundle.is_none() && way.bookmark.at().next < bound {
            let room = self.destination.ready().await?;
            more = way.pick(bound, room, &self.dir, &self.origin, &self.name)?;
        }
        let Some(bundle) = &way.bundle else { return Ok(if more { Step::Delivered { more } } else { Step::Done }) };
        self.destination.deliver(bundle).await?;
        way.bookmark.set(Place { next: bundle.end(), sending: None }).map_err(own)?;
        way.bundle = None;
        Ok(Step::Delivered { more })
    }

    /// Finds out where to go on: from the bookmark, or by asking the sink when there is none.
    async fn find(&mut self, bound: u64) -> Result<Way, Failure> {
        let (mut bookmark, found) = Bookmark::open(&self.dir, &self.origin, &self.name).map_err(own)?;
        if !found {
            self.destination.ready().await?;
            let next = match self.destination.newest(&self.origin).await? {
                None => 0,
                Some(newest) => self.recognised(&newest, bound)?,
            };
            bookmark.set(Place { next, sending: None }).map_err(own)?;
        }
        let at = bookmark.at();
        let mut cursor = Cursor::open(&self.dir, &self.origin, at.next);
        let bundle = match at.sending {
            None => None,
            Some(last) => match read(&mut cursor, last.saturating_add(1), usize::MAX, &self.origin) {
                Ok((bundle, _)) if bundle.end() > last => Some(bundle),
                // Nobody will ever ask for it again.
                Err(Unread::Gone(_)) => None,
                Err(Unread::Failed(failure)) => return Err(failure),
                Ok((bundle, _)) => return Err(missing(bundle.end())),
            },
        };
        Ok(Way { bookmark, cursor, bundle })
    }

    /// Where to go on behind a bundle that the sink has, if it is of this log.
    fn recognised(&self, newest: &Bundle, bound: u64) -> Result<u64, Failure> {
        let mut cursor = Cursor::open(&self.dir, &self.origin, newest.first);
        let conflict = |what: &str| {
            Failure::Conflict(format!("the sink holds entries {} to {}, {what}", newest.first, newest.end().saturating_sub(1)))
        };
        if newest.end() > bound {
            return Err(conflict("which this log does not reach"));
        }
        let mut same = true;
        let mut entries = newest.entries();
        let told = cursor.read(newest.end(), usize::MAX, &mut |_, entry| same &= entries.next() == Some(entry));
        match told {
            // What is no longer kept here cannot be compared.
            Err(ReadError::Pruned { first }) if first <= newest.end() => Ok(newest.end()),
            Err(error) => Err(Failure::later("the log cannot be read", &error)),
            Ok(_) if same && cursor.next() == newest.end() => Ok(newest.end()),
            Ok(_) => Err(conflict("which are others than in this log")),
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        METRICS.audit_sink_lag.with_label_values(&[&self.name]).sub(self.lag);
    }
}

impl Way {
    /// Picks the next bundle and writes down what it is; true when there is more than it has room for.
    fn pick(&mut self, bound: u64, room: usize, dir: &Path, origin: &Origin, name: &str) -> Result<bool, Failure> {
        let next = self.bookmark.at().next;
        if self.cursor.next() != next {
            // A reading that failed half way is begun anew.
            self.cursor = Cursor::open(dir, origin, next);
        }
        // An entry's length travels with it; no entry is shorter than sixteen times that.
        let (bundle, stop) = match read(&mut self.cursor, bound, room - room / 16, origin) {
            Ok(read) => read,
            Err(Unread::Failed(failure)) => return Err(failure),
            Err(Unread::Gone(first)) => {
                let last = first.saturating_sub(1);
                log::error!("audit sink {name} ({origin}): entries {next} to {last} are no longer kept and never came");
                METRICS.audit_sink_failures.with_label_values(&[name]).inc();
                self.bookmark.set(Place { next: first, sending: None }).map_err(own)?;
                return Ok(true);
            }
        };
        if bundle.is_empty() {
            return Err(missing(next));
        }
        self.bookmark.set(Place { next, sending: Some(bundle.end() - 1) }).map_err(own)?;
        self.bundle = Some(bundle);
        Ok(stop == Stop::Full)
    }
}

/// Why there is no bundle.
enum Unread {
    /// The first entry that is still kept.
    Gone(u64),
    Failed(Failure),
}

/// The entries from the cursor's place up to `below`, as many as fit into `room` bytes and are there.
fn read(cursor: &mut Cursor, below: u64, room: usize, origin: &Origin) -> Result<(Bundle, Stop), Unread> {
    let mut bundle = Bundle::new(origin, cursor.next());
    match cursor.read(below, room, &mut |_, entry| bundle.push(entry)) {
        Ok(stop) => Ok((bundle, stop)),
        Err(ReadError::Pruned { first }) => Err(Unread::Gone(first)),
        Err(error) => Err(Unread::Failed(Failure::later("the log cannot be read", &error))),
    }
}

/// A durable entry that cannot be read.
fn missing(index: u64) -> Failure {
    Failure::Later { why: format!("record {index} is not in the log; see `kt audit verify`"), after: None }
}

/// A failure of this machine's own disk.
fn own(error: AuditError) -> Failure {
    Failure::later("it cannot be written down how far it is", &error)
}
