//! The segments of one log as a reader needs them: in order, sealed or not, whatever the gateway does to them meanwhile.
//!
//! A segment may be sealed, and the oldest be pruned, between the look at the directory and the opening of a file. Sealing writes
//! the sealed form whole before it removes the other, so whoever lists the WAL first and what is sealed second misses nothing,
//! and whoever does not find the one form finds the other, unless the segment was pruned.

use super::AuditError;
use super::origin::Origin;
use super::scan::Damage;
use super::sealed::{self, Sealed, entries::Reader as Entries, index::Index};
use super::segment::{self, Frame, Reader};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How often a segment is looked for that is in neither form.
const TRIES: u32 = 5;

/// The segments of one log, oldest first, as they were when they were listed.
#[derive(Debug, Clone)]
pub struct Parts {
    origin: Origin,
    home: PathBuf,
    list: Vec<Part>,
}

/// One segment.
#[derive(Debug, Clone)]
pub struct Part {
    /// Index of its first record.
    pub first: u64,
    /// Index behind its last record; none while it is written.
    pub end: Option<u64>,
    sealed: Option<Sealed>,
}

/// A segment, opened: from now on nobody can take it away.
pub enum Open {
    /// In the form that is kept.
    Sealed {
        /// What is where.
        index: Index,
        /// The records.
        entries: Entries,
        /// The file they are in.
        path: PathBuf,
    },
    /// In the form that is written.
    Wal(Wal),
}

/// A segment of the WAL, read from its beginning.
pub struct Wal {
    reader: Reader,
    next: u64,
    end: Option<u64>,
    path: PathBuf,
}

impl Parts {
    /// Lists the segments of a log.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn list(dir: &Path, origin: &Origin) -> Result<Parts, AuditError> {
        let home = origin.below(dir);
        let wal = home.join("wal");
        // In this order: what is sealed in between is then in both lists rather than in none.
        let written = segment::list(&wal).map_err(AuditError::at(&wal))?;
        let sealed = sealed::list(&home).map_err(AuditError::at(&home))?;
        let behind = sealed.last().map_or(0, |last| last.last + 1);
        let kept = |sealed: Sealed| Part { first: sealed.first, end: Some(sealed.last + 1), sealed: Some(sealed) };
        let mut list: Vec<Part> = sealed.into_iter().map(kept).collect();
        let firsts: Vec<u64> = written.into_iter().map(|(first, _)| first).filter(|first| *first >= behind).collect();
        let ends = firsts.iter().skip(1).copied().map(Some).chain([None]);
        list.extend(firsts.iter().zip(ends).map(|(first, end)| Part { first: *first, end, sealed: None }));
        Ok(Parts { origin: origin.clone(), home, list })
    }

    /// The log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The segments.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Part> {
        self.list.iter()
    }

    /// Index of the first record that is left.
    pub fn first(&self) -> u64 {
        self.list.first().map_or(0, |part| part.first)
    }

    /// Opens a segment; `None` when it was pruned since.
    ///
    /// # Errors
    /// `Damaged` when it is not what was written, and those of the file system.
    pub fn open(&self, part: &Part) -> Result<Option<Open>, AuditError> {
        let mut sealed = part.sealed.clone();
        for _ in 0..TRIES {
            let opened = match &sealed {
                Some(sealed) => self.open_sealed(sealed)?,
                None => self.open_wal(part)?,
            };
            if opened.is_some() {
                return Ok(opened);
            }
            sealed = sealed::list(&self.home).map_err(AuditError::at(&self.home))?.into_iter().find(|s| s.first == part.first);
        }
        Ok(None)
    }

    /// Bytes of the files to be read, padding of the last one included.
    pub fn bytes(&self) -> u64 {
        let length = |path: PathBuf| path.metadata().map_or(0, |file| file.len());
        let file = |part: &Part| match &part.sealed {
            Some(sealed) => length(sealed.files()[0].clone()),
            None => length(segment::path(&self.home.join("wal"), part.first)),
        };
        self.list.iter().map(file).sum()
    }

    fn open_sealed(&self, sealed: &Sealed) -> Result<Option<Open>, AuditError> {
        let [path, _, listed] = sealed.files();
        let Some(index) = self.found(Index::read(sealed), sealed.first, &listed)? else { return Ok(None) };
        let Some(entries) = self.found(Entries::open(sealed), sealed.first, &path)? else { return Ok(None) };
        Ok(Some(Open::Sealed { index, entries, path }))
    }

    fn open_wal(&self, part: &Part) -> Result<Option<Open>, AuditError> {
        let path = segment::path(&self.home.join("wal"), part.first);
        match self.found(Reader::open(&path), part.first, &path)? {
            None => Ok(None),
            Some(Ok((reader, _))) => Ok(Some(Open::Wal(Wal { reader, next: part.first, end: part.end, path }))),
            Some(Err(what)) => Err(self.damage(part.first, &path, 0, what).into()),
        }
    }

    /// What was read, none when there is no such file, or damage when it does not hold what it should.
    fn found<T>(&self, read: io::Result<T>, index: u64, path: &Path) -> Result<Option<T>, AuditError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(self.damage(index, path, 0, &error.to_string()).into()),
            Err(error) => Err(AuditError::at(path)(error)),
        }
    }

    /// Damage at a record of this log.
    pub(super) fn damage(&self, index: u64, path: &Path, offset: u64, what: &str) -> Damage {
        Damage { origin: self.origin.clone(), index, segment: path.to_path_buf(), offset, what: what.to_string() }
    }
}

impl Wal {
    /// The next record and its index; none behind the last.
    ///
    /// # Errors
    /// `Damaged` when records are missing before the next segment, and those of the file system.
    pub fn next(&mut self, parts: &Parts) -> Result<Option<(u64, &[u8])>, AuditError> {
        if self.end == Some(self.next) {
            return Ok(None);
        }
        let what = match self.reader.advance().map_err(AuditError::at(&self.path))? {
            Frame::Whole { .. } => {
                self.next += 1;
                return Ok(Some((self.next - 1, self.reader.entry())));
            }
            Frame::Blank => "there are zeros in its place",
            Frame::Bad(what) => what,
        };
        match self.end {
            // The gateway may be writing it at this moment; whether it is damaged is for `verify` to say.
            None => Ok(None),
            Some(_) => Err(parts.damage(self.next, &self.path, self.reader.at(), what).into()),
        }
    }

    /// How far it was read, in bytes.
    pub fn at(&self) -> u64 {
        self.reader.at()
    }
}
