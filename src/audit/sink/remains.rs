//! The logs that gateways which are gone left here: what they had not delivered is delivered for them.
//!
//! A gateway that stopped while a sink was down, or was replaced by one that writes beside it, leaves entries nobody else would
//! carry. Whoever carries them holds the log's lock meanwhile, so that its entries stand still.

use super::bookmark::Bookmark;
use super::courier::{Courier, Step};
use super::destination;
use super::keys::Environment;
use crate::audit::AuditError;
use crate::audit::origin::Origin;
use crate::audit::read::{Cursor, ReadError, Stop};
use crate::audit::segment;
use crate::config::SinkConfig;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What is left of a log that nobody writes.
pub(super) struct Remains {
    origin: Origin,
    /// Index behind its last entry.
    end: u64,
    /// Held as long as the entries must stand still.
    _lock: File,
}

impl Remains {
    /// The logs below `dir` other than `own` that nobody writes and a sink has not all of.
    pub fn find(dir: &Path, own: &Origin, sink: &SinkConfig) -> Vec<Remains> {
        let others = Origin::all_below(dir).into_iter().filter(|origin| origin != own);
        others.filter_map(|origin| Remains::of(dir, origin, sink)).collect()
    }

    fn of(dir: &Path, origin: Origin, sink: &SinkConfig) -> Option<Remains> {
        let next = match Bookmark::open(dir, &origin, &sink.name) {
            Ok((bookmark, _)) => bookmark.at().next,
            Err(error) => {
                log::error!("audit sink {}: {error}", sink.name);
                return None;
            }
        };
        let lock = File::open(origin.below(dir).join("lock")).ok()?;
        // A lock that is taken is a gateway that carries its own. Other sinks may share it with this one.
        lock.try_lock_shared().ok()?;
        let end = match sync(dir, &origin).and_then(|()| end(dir, &origin, next)) {
            Ok(end) => end,
            Err(error) => {
                log::error!("audit sink {} ({origin}): {error}", sink.name);
                return None;
            }
        };
        (end > next).then_some(Remains { origin, end, _lock: lock })
    }

    /// Delivers what is left, as far as it goes.
    pub async fn carry(self, dir: PathBuf, sink: &SinkConfig, env: &Environment) {
        let destination = destination::open(sink, env);
        let mut courier = Courier::new(&dir, &self.origin, &sink.name, destination);
        while let Step::Delivered { .. } = courier.step(self.end, 0.0).await {}
        let left = courier.behind(self.end);
        log::info!("audit sink {}: the log {} that was left behind lacks {left} records", sink.name, self.origin);
    }
}

/// A process that was killed may have written what no disk has yet: makes all of a log durable.
pub(super) fn sync(dir: &Path, origin: &Origin) -> Result<(), AuditError> {
    let wal = origin.below(dir).join("wal");
    for (_, path) in segment::list(&wal).map_err(AuditError::at(&wal))? {
        File::open(&path).and_then(|file| file.sync_data()).map_err(AuditError::at(&path))?;
    }
    Ok(())
}

fn end(dir: &Path, origin: &Origin, next: u64) -> Result<u64, AuditError> {
    let mut cursor = Cursor::open(dir, origin, next);
    loop {
        match cursor.read(u64::MAX, usize::MAX, &mut |_, _| ()) {
            Ok(Stop::End) => return Ok(cursor.next()),
            Ok(Stop::Full) => {}
            Err(ReadError::Pruned { first }) => cursor.skip_to(first),
            Err(ReadError::Log(error)) => return Err(error),
        }
    }
}
