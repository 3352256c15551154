//! The segments of one log as somebody reads them who looks for something: in order, sealed or not, each with what it takes to
//! read it, whatever the gateway does to it meanwhile.

use super::AuditError;
use super::layout::{self, Layout};
use super::origin::Origin;
use super::scan::Damage;
use super::sealed::{Sealed, entries::Reader as Entries, index::Index};
use super::segment::{Frame, Reader};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The segments of one log, oldest first, as they were when they were listed.
pub struct Parts {
    origin: Origin,
    list: Vec<Part>,
}

/// One segment.
pub struct Part {
    /// Index of its first record.
    pub first: u64,
    /// Index behind its last record; none while it is written.
    pub end: Option<u64>,
    form: Form,
}

enum Form {
    /// Opened when it is its turn: there may be thousands.
    Sealed(Sealed),
    /// Open from the beginning: it stays readable when it is sealed and removed.
    Wal(PathBuf, Result<Reader, &'static str>),
}

/// A segment that can be read.
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
        let Layout { sealed, wal } = layout::look(&origin.below(dir))?;
        let kept = |sealed: Sealed| Part { first: sealed.first, end: Some(sealed.last + 1), form: Form::Sealed(sealed) };
        let mut list: Vec<Part> = sealed.into_iter().map(kept).collect();
        let mut written = wal.into_iter().peekable();
        while let Some(layout::Open { first, path, segment }) = written.next() {
            let (end, reader) = (written.peek().map(|next| next.first), segment.map(|(reader, _)| reader));
            list.push(Part { first, end, form: Form::Wal(path, reader) });
        }
        Ok(Parts { origin: origin.clone(), list })
    }

    /// Index of the first record that is left.
    pub fn first(&self) -> u64 {
        self.list.first().map_or(0, |part| part.first)
    }

    /// Bytes of the files that hold the records, the room in the last one included.
    pub fn bytes(&self) -> u64 {
        let length = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let file = |part: &Part| match &part.form {
            Form::Sealed(sealed) => length(&sealed.files()[0]),
            Form::Wal(path, _) => length(path),
        };
        self.list.iter().map(file).sum()
    }

    /// Takes out the segments that hold records from index `from` on.
    pub(super) fn take(&mut self, from: u64) -> Vec<Part> {
        let mut list = std::mem::take(&mut self.list);
        list.retain(|part| part.end.is_none_or(|end| end > from));
        list
    }

    /// Opens a segment; `None` when it was pruned since.
    ///
    /// # Errors
    /// `Damaged` when it is not what was written, and those of the file system.
    pub(super) fn open(&self, part: Part) -> Result<Option<Open>, AuditError> {
        match part.form {
            Form::Sealed(sealed) => {
                let [path, _, listed] = sealed.files();
                let Some(index) = self.found(Index::read(&sealed), part.first, &listed)? else { return Ok(None) };
                let Some(entries) = self.found(Entries::open(&sealed), part.first, &path)? else { return Ok(None) };
                Ok(Some(Open::Sealed { index, entries, path }))
            }
            Form::Wal(path, Ok(reader)) => Ok(Some(Open::Wal(Wal { reader, next: part.first, end: part.end, path }))),
            Form::Wal(path, Err(what)) => Err(self.damage(part.first, &path, 0, what).into()),
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
    pub(super) fn next(&mut self, parts: &Parts) -> Result<Option<(u64, &[u8])>, AuditError> {
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
    pub(super) fn at(&self) -> u64 {
        self.reader.at()
    }
}
