//! Makes a log ready to be written again after any kind of end: keeps others out, checks it, cuts off what a crash left half
//! done, and finds the exchanges nobody ended.
//!
//! What is cut off was never acknowledged, or is the work of someone's hands; either way it is kept in `torn/` and the log says
//! so with an `audit.gap` record.

use super::AuditError;
use super::origin::Origin;
use super::scan::{Patience, Tail, scan};
use super::segment::{Hash, Reader};
use super::writer::{Segment, Store};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long another process may take to let go of the log.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// A log ready to be written.
pub(super) struct Recovered {
    /// Held by the one process that writes.
    pub(super) lock: File,
    pub(super) store: Store,
    pub(super) segment: Segment,
    /// Index of the next record.
    pub(super) next: u64,
    /// Link of the last.
    pub(super) link: Hash,
    /// `received` records of exchanges nobody ended, oldest first.
    pub(super) orphans: Vec<Uuid>,
    /// Bytes cut off the end.
    pub(super) cut: Option<u64>,
}

/// Recovers the log of an origin, or begins it.
pub(super) fn recover(dir: &Path, origin: &Origin, segment_bytes: u64) -> Result<Recovered, AuditError> {
    let home = origin.below(dir);
    let wal = home.join("wal");
    DirBuilder::new().recursive(true).mode(0o700).create(&wal).map_err(AuditError::at(&wal))?;
    let lock = hold(&home.join("lock"))?;
    for made in wal.ancestors().take_while(|made| made.starts_with(dir)) {
        // The names of new directories must survive a power cut too.
        File::open(made).and_then(|made| made.sync_all()).map_err(AuditError::at(made))?;
    }
    let log = scan(dir, origin, Patience::None, &mut |_| {})?;
    let mut store = Store { wal: wal.clone(), origin: origin.clone(), segment_bytes, spare: None };
    let mut cut = None;
    let segment = match &log.end {
        None => store.create(log.next, log.link).map_err(AuditError::at(&wal))?,
        Some((path, at)) => {
            if log.tail != Tail::Clean {
                cut = Some(cut_off(&home, path, *at, log.next).map_err(AuditError::at(path))?);
            }
            reopen(path, *at).map_err(AuditError::at(path))?
        }
    };
    let mut orphans: Vec<(u64, Uuid)> =
        log.open.iter().filter_map(|(id, index)| Uuid::parse_str(id).ok().map(|id| (*index, id))).collect();
    orphans.sort();
    let orphans = orphans.into_iter().map(|(_, id)| id).collect();
    Ok(Recovered { lock, store, segment, next: log.next, link: log.link, orphans, cut })
}

/// Takes the lock, waiting a moment for a process that is just leaving: a quick restart is no second gateway.
fn hold(path: &Path) -> Result<File, AuditError> {
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(AuditError::at(path))?;
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::WouldBlock) => return Err(AuditError::Locked { path: path.to_path_buf() }),
            Err(TryLockError::Error(source)) => return Err(AuditError::Io { path: path.to_path_buf(), source }),
        }
    }
}

/// Opens the last segment for more, and makes sure of what is in it: a killed process may have left it to the page cache.
fn reopen(path: &Path, at: u64) -> io::Result<Segment> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    file.sync_all()?;
    let capacity = file.metadata()?.len();
    Ok(Segment { file: Arc::new(file), at, capacity })
}

/// Moves all behind `at` to `torn/`, and leaves zeros.
fn cut_off(home: &Path, path: &Path, at: u64, index: u64) -> io::Result<u64> {
    let torn = home.join("torn");
    DirBuilder::new().recursive(true).mode(0o700).create(&torn)?;
    let (mut reader, _) = Reader::open(path)?.map_err(io::Error::other)?;
    let length = reader.remainder_from(at)?;
    let kept = torn.join(format!("{index:020}-{}.bin", Uuid::now_v7().simple()));
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&kept)?;
    let file = OpenOptions::new().write(true).open(path)?;
    let (mut done, zeros) = (0, vec![0; 1 << 20]);
    while done < length {
        let bytes = reader.bytes(at + done, zeros.len().min((length - done) as usize))?;
        if bytes.is_empty() {
            break;
        }
        copy.write_all(bytes)?;
        done += bytes.len() as u64;
    }
    copy.sync_all()?;
    File::open(&torn)?.sync_all()?;
    // Only now that the copy is safe.
    let mut wiped = 0;
    while wiped < length {
        let step = zeros.len().min((length - wiped) as usize);
        file.write_all_at(zeros.get(..step).unwrap_or_default(), at + wiped)?;
        wiped += step as u64;
    }
    file.sync_all()?;
    log::warn!("audit log: {length} bytes behind record {index} were cut off and kept in {}", kept.display());
    Ok(length)
}
