//! Makes a log ready to be written again after any kind of end: keeps others out, checks it, cuts off what a crash left half
//! done, and finds the exchanges nobody ended.
//!
//! A log that is not the one whose checkpoint was signed here last, because somebody restored an older copy or the key is another,
//! is left as it is: a new epoch of it begins beside it, and names the checkpoint that it cannot continue.
//!
//! What is cut off was never acknowledged, or is the work of someone's hands; either way it is kept in `torn/` and the log says
//! so with an `audit.gap` record.

use super::merkle::{Frontier, Hash};
use super::note::{Checkpoint, KeyError, Signer, Verifier};
use super::origin::Origin;
use super::retention::moment;
use super::scan::{Begin, Damage, Look, Patience, Tail, scan};
use super::segment::Reader;
use super::writer::{Segment, Store};
use super::{AuditError, checkpoints, tree};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;

/// How long another process may take to let go of the log.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// A log ready to be written.
pub(super) struct Recovered {
    /// Held by the one process that writes.
    pub(super) lock: File,
    pub(super) store: Store,
    pub(super) segment: Segment,
    /// The tree over all records.
    pub(super) tree: Frontier,
    /// What signs them.
    pub(super) key: Signer,
    /// Size of the newest checkpoint; zero without one.
    pub(super) signed: u64,
    /// `received` records of exchanges nobody ended, oldest first.
    pub(super) orphans: Vec<Uuid>,
    /// Bytes cut off the end.
    pub(super) cut: Option<u64>,
    /// When the newest record was made.
    pub(super) newest: Option<SystemTime>,
}

/// Recovers the log of an origin, or begins it. `key` makes the key that signs it, in its directory.
///
/// # Errors
/// `Damaged` and those of the file system; `Forked` when this is not the log that was last signed here.
pub(super) fn recover(dir: &Path, origin: &Origin, segment_bytes: u64, key: MakeKey<'_>) -> Result<Recovered, AuditError> {
    let home = origin.below(dir);
    let wal = home.join("wal");
    DirBuilder::new().recursive(true).mode(0o700).create(&wal).map_err(AuditError::at(&wal))?;
    let lock = hold(&home.join("lock"))?;
    // The names of new directories must survive a power cut too, that of the audit directory itself in the one above.
    let above = dir.ancestors().nth(1).map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    for made in wal.ancestors().take_while(|made| made.starts_with(dir)).chain(above) {
        File::open(made).and_then(|made| made.sync_all()).map_err(AuditError::at(made))?;
    }
    clear(&wal).map_err(AuditError::at(&wal))?;
    let key = key(&home, origin.as_str())?;
    let checkpoint = last_signed(&home, key.verifier())?;
    let roots_at = checkpoint.iter().map(|checkpoint| checkpoint.size).collect();
    let log = scan(dir, origin, &Look { begin: Begin::Wal, patience: Patience::None, roots_at }, &mut |_| {})?;
    if let Some(checkpoint) = &checkpoint {
        let root = log.roots.get(&checkpoint.size).copied();
        contains(dir, origin, checkpoint, log.tree.size(), root)?;
    }
    let mut store = Store { wal: wal.clone(), origin: origin.clone(), segment_bytes, spare: None };
    let mut cut = None;
    let segment = match &log.end {
        None => store.create(&log.tree).map_err(AuditError::at(&wal))?,
        Some((path, at)) => {
            if log.tail != Tail::Clean {
                cut = Some(cut_off(&home, path, *at, log.tree.size()).map_err(AuditError::at(path))?);
            }
            reopen(path, *at).map_err(AuditError::at(path))?
        }
    };
    let open = log.books.open.iter();
    let mut orphans: Vec<(u64, Uuid)> = open.filter_map(|(id, index)| Some((*index, Uuid::parse_str(id).ok()?))).collect();
    orphans.sort();
    let orphans = orphans.into_iter().map(|(_, id)| id).collect();
    let signed = checkpoint.map_or(0, |checkpoint| checkpoint.size);
    let newest = moment(&log.books.newest);
    Ok(Recovered { lock, store, segment, tree: log.tree, key, signed, orphans, cut, newest })
}

/// The last checkpoint this key signed: the newest, or one that was kept when that cannot be read.
fn last_signed(home: &Path, key: &Verifier) -> Result<Option<Checkpoint>, AuditError> {
    let newest = checkpoints::newest(home).map_err(AuditError::at(&checkpoints::newest_path(home)))?;
    let kept = checkpoints::kept(home).map_err(AuditError::at(home))?;
    let mut forked = None;
    for note in newest.into_iter().chain(kept.into_iter().rev().map(|(_, note)| note)) {
        match key.verify(&note) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(why) => forked = forked.or(Some(AuditError::Forked { why: why.to_string(), note })),
        }
    }
    forked.map_or(Ok(None), Err)
}

/// Removes what another process had no time for: segments that were written anew elsewhere.
fn clear(wal: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(wal)? {
        let path = file?.path();
        if path.extension().is_some_and(|kind| kind == "void") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Finds or makes the key of a log: its directory and its name.
pub(super) type MakeKey<'a> = &'a dyn Fn(&Path, &str) -> Result<Signer, KeyError>;

/// The log must hold what was signed. One that is shorter was rolled back: to continue it would fork it.
fn contains(dir: &Path, origin: &Origin, signed: &Checkpoint, size: u64, root: Option<Hash>) -> Result<(), AuditError> {
    if size < signed.size {
        let why = format!("{} records were signed and {size} are left", signed.size);
        return Err(AuditError::Forked { why, note: signed.to_string() });
    }
    let root = match root {
        Some(root) => root,
        // All that was signed is sealed.
        None => tree::LogTree::open(dir, origin)?.frontier(signed.size)?.root(),
    };
    if root == signed.root {
        return Ok(());
    }
    let what = format!("the {} records before it are not those that were signed", signed.size);
    let segment = checkpoints::newest_path(&origin.below(dir));
    Err(AuditError::Damaged(Damage { origin: origin.clone(), index: signed.size.saturating_sub(1), segment, offset: 0, what }))
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
