//! Reads a whole log in order and checks all of it: what a start of the gateway and `kt audit verify` have in common.

use super::AuditError;
use super::books::Books;
use super::layout::{self, Layout, Open};
use super::merkle::{Frontier, Hash, leaf_hash};
use super::origin::Origin;
use super::sealed::entries::Reader as Entries;
use super::sealed::index::{self, Index};
use super::sealed::tiles::Tiles;
use super::sealed::{Growing, Sealed};
use super::segment::{self, Frame};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first thing wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {index} of {origin} is damaged: {what} ({}, byte {offset})", segment.display())]
pub struct Damage {
    /// The log.
    pub origin: Origin,
    /// Index of the first record that cannot be trusted.
    pub index: u64,
    /// The file.
    pub segment: PathBuf,
    /// Where in it the record begins.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// A log that was read to its end.
#[derive(Debug)]
pub struct Scanned {
    /// Index of the first record read: those before were pruned, or are sealed and were not asked for.
    pub first: u64,
    /// The tree over all records; its size is how many there ever were.
    pub tree: Frontier,
    /// What the records add up to.
    pub books: Books,
    /// Roots of the tree at the sizes asked for.
    pub roots: BTreeMap<u64, Hash>,
    /// Number of segments read.
    pub segments: usize,
    /// The last WAL segment and where its next frame goes.
    pub end: Option<(PathBuf, u64)>,
    /// What stands there.
    pub tail: Tail,
}

/// What stands behind the last whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// The beginning of a record, cut short: of a write going on or of a crash.
    Unfinished,
    /// Something else.
    Torn(Damage),
}

/// What to read, and how.
#[derive(Debug, Clone)]
pub struct Look {
    /// Where to begin.
    pub begin: Begin,
    /// Whether somebody may be writing.
    pub patience: Patience,
    /// Sizes of the tree whose roots are wanted.
    pub roots_at: BTreeSet<u64>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first record there is, re-hashing everything that is sealed.
    First,
    /// Behind what is sealed: a start of the gateway takes no longer when the log is long.
    Wal,
}

/// How patiently to look at a place that is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Nobody writes.
    None,
    /// A gateway may be writing: look again before calling it damage.
    LookAgain,
}

/// Reads the log of one origin. `progress` gets the bytes read so far, now and then.
///
/// Fails on damage anywhere but behind the last record of the last segment; that is for the caller to judge.
pub fn scan(dir: &Path, origin: &Origin, look: &Look, progress: &mut dyn FnMut(u64)) -> Result<Scanned, AuditError> {
    loop {
        let layout = layout::look(&origin.below(dir))?;
        let first = layout.first();
        match scan_once(layout, origin, look, progress) {
            // Pruned while it was read: what is gone is not damage.
            Err(_) if look.patience == Patience::LookAgain && layout::look(&origin.below(dir))?.first() != first => {}
            scanned => return scanned,
        }
    }
}

fn scan_once(layout: Layout, origin: &Origin, look: &Look, progress: &mut dyn FnMut(u64)) -> Result<Scanned, AuditError> {
    let Layout { sealed, wal } = layout;
    let mut scan = Scan {
        origin,
        look,
        log: Scanned {
            first: 0,
            tree: Frontier::new(),
            books: Books::default(),
            roots: BTreeMap::new(),
            segments: 0,
            end: None,
            tail: Tail::Clean,
        },
        begun: false,
        read: 0,
        progress,
    };
    match (look.begin, sealed.last()) {
        (Begin::First, _) => sealed.iter().try_for_each(|segment| scan.sealed(segment))?,
        (Begin::Wal, Some(last)) => scan.skip(last)?,
        (Begin::Wal, None) => {}
    }
    let mut wal = wal.into_iter().peekable();
    while let Some(segment) = wal.next() {
        scan.wal(segment, wal.peek().map(|next| next.first))?;
    }
    Ok(scan.log)
}

/// A log being read.
struct Scan<'a> {
    origin: &'a Origin,
    look: &'a Look,
    log: Scanned,
    begun: bool,
    /// Bytes of the segments behind us.
    read: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Scan<'_> {
    /// Re-hashes a sealed segment: its records, the hashes beside them, and its index.
    fn sealed(&mut self, segment: &Sealed) -> Result<(), AuditError> {
        let [entries, tiles, index] = segment.files();
        let held = |scan: &Scan, path: &Path, result: io::Result<_>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::InvalidData => {
                Err(AuditError::from(scan.damage(path, 0, error.to_string())))
            }
            result => result.map_err(AuditError::at(path)),
        };
        let hashes = held(self, &tiles, Tiles::open(segment).and_then(|tiles| Ok((tiles.leaves()?, tiles))));
        let (leaves, hashes) = hashes?;
        let listed = Index::read(segment);
        let before = listed.as_ref().map(|index| index.before.clone()).unwrap_or_default();
        self.enter(&tiles, segment.first, &hashes.before, before)?;
        let listed = listed.map_err(|error| self.damage(&index, 0, error.to_string()))?;
        let mut rebuilt = index::Builder::new(segment.first, &self.log.books);
        let mut tree = Growing::new(hashes.before.clone());
        let mut reader = Entries::open(segment).map_err(AuditError::at(&entries))?;
        for run in &listed.runs {
            let bytes = reader.run(run.place).map_err(|error| self.damage(&entries, run.place.offset, error.to_string()))?;
            for entry in bytes {
                let at = self.log.tree.size();
                let leaf = leaves.get((at - segment.first) as usize);
                let leaf =
                    leaf.ok_or_else(|| self.damage(&entries, run.place.offset, "there are more records than there were"))?;
                self.take(entry, leaf, &entries, run.place.offset)?;
                tree.push(*leaf);
                rebuilt.add(entry);
            }
            (self.progress)(self.read + run.place.offset);
        }
        if self.log.tree.size() != segment.last + 1 {
            let what = format!("records {} to {} are missing", self.log.tree.size(), segment.last);
            return Err(self.damage(&entries, 0, what).into());
        }
        let first = |scan: &Scan, path: &Path, what| Damage { index: segment.first, ..scan.damage(path, 0, what) };
        if !hashes.holds(&tree).map_err(AuditError::at(&tiles))? {
            return Err(first(self, &tiles, "the hashes of the segment are not those of its records").into());
        }
        let places = listed.runs.iter().map(|run| run.place).collect();
        if rebuilt.finish(places, &self.log.books) != listed {
            return Err(first(self, &index, "the index of the segment is not that of its records").into());
        }
        self.log.segments += 1;
        self.read += entries.metadata().map_or(0, |file| file.len());
        Ok(())
    }

    /// Takes the word of the last sealed segment for all that is sealed.
    fn skip(&mut self, last: &Sealed) -> Result<(), AuditError> {
        let [_, tiles, index] = last.files();
        let listed = Index::read(last).map_err(AuditError::at(&index))?;
        let hashes = Tiles::open(last).map_err(AuditError::at(&tiles))?;
        let mut tree = hashes.before.clone();
        hashes.leaves().map_err(AuditError::at(&tiles))?.into_iter().for_each(|leaf| tree.push(leaf));
        self.enter(&tiles, tree.size(), &tree, listed.behind)?;
        self.log.books.newest = listed.runs.into_iter().map(|run| run.to).max().unwrap_or_default();
        Ok(())
    }

    fn wal(&mut self, segment: Open, until: Option<u64>) -> Result<(), AuditError> {
        let Open { first, path, segment } = segment;
        let path = path.as_path();
        let io = || AuditError::at(path);
        let (mut reader, header) = segment.map_err(|what| self.damage(path, 0, what))?;
        if header.before.size() != first || header.origin != self.origin.as_str() {
            return Err(self.damage(path, 0, "the segment's header names another place").into());
        }
        self.enter(path, first, &header.before, HashMap::new())?;
        let mut tries = if self.look.patience == Patience::LookAgain { 5 } else { 0 };
        self.log.tail = loop {
            if until == Some(self.log.tree.size()) {
                break Tail::Clean;
            }
            let what = match reader.advance().map_err(io())? {
                Frame::Whole { leaf } => {
                    let offset = reader.at() - (segment::FRAME_HEAD + reader.entry().len()) as u64;
                    self.take(reader.entry(), &leaf, path, offset)?;
                    if self.log.tree.size().is_multiple_of(4096) {
                        (self.progress)(self.read + reader.at());
                    }
                    continue;
                }
                Frame::Blank if reader.remainder().map_err(io())? == 0 => break Tail::Clean,
                Frame::Blank => "there are zeros in its place and records behind them",
                Frame::Bad(_) if tries == 0 && reader.is_unfinished().map_err(io())? => break Tail::Unfinished,
                Frame::Bad(what) => what,
            };
            if tries == 0 {
                break Tail::Torn(self.damage(path, reader.at(), what));
            }
            tries -= 1;
            std::thread::sleep(Duration::from_millis(20));
            reader.refresh();
        };
        self.log.end = Some((path.to_path_buf(), reader.at()));
        self.log.segments += 1;
        self.read += reader.at();
        let size = self.log.tree.size();
        match (&self.log.tail, until) {
            (_, None) => Ok(()),
            (_, Some(until)) if until == size => Ok(()),
            (Tail::Torn(damage), Some(_)) => Err(damage.clone().into()),
            (_, Some(until)) => {
                let what = format!("records {size} to {} are missing", until.saturating_sub(1));
                Err(self.damage(path, reader.at(), what).into())
            }
        }
    }

    /// Goes on to the segment that begins with `first`. Only what is read first may begin in the middle of the log.
    fn enter(&mut self, path: &Path, first: u64, before: &Frontier, open: HashMap<String, u64>) -> Result<(), AuditError> {
        if !std::mem::replace(&mut self.begun, true) {
            self.log.first = first;
            self.log.tree = before.clone();
            self.log.books = Books::inheriting(open);
            self.root();
        }
        let size = self.log.tree.size();
        if first != size {
            let what = format!("records {size} to {} are missing", first.saturating_sub(1));
            return Err(self.damage(path, 0, what).into());
        }
        if *before != self.log.tree {
            return Err(self.damage(path, 0, "the segment does not follow from the records before it").into());
        }
        Ok(())
    }

    /// Checks the next record and enters it in the books.
    fn take(&mut self, entry: &[u8], leaf: &Hash, path: &Path, offset: u64) -> Result<(), AuditError> {
        let index = self.log.tree.size();
        if leaf_hash(entry) != *leaf {
            return Err(self.damage(path, offset, "it is not what was hashed when it was written").into());
        }
        self.log.books.enter(index, entry).map_err(|what| self.damage(path, offset, what))?;
        self.log.tree.push(*leaf);
        self.root();
        Ok(())
    }

    fn root(&mut self) {
        let tree = &self.log.tree;
        if self.look.roots_at.contains(&tree.size()) {
            self.log.roots.insert(tree.size(), tree.root());
        }
    }

    fn damage(&self, path: &Path, offset: u64, what: impl Into<String>) -> Damage {
        let index = self.log.tree.size();
        Damage { origin: self.origin.clone(), index, segment: path.to_path_buf(), offset, what: what.into() }
    }
}
