//! Which files hold a log's records right now, while a gateway may be writing, sealing and pruning them.

use super::AuditError;
use super::sealed::{self, Sealed};
use super::segment::{self, Header, Reader};
use std::io;
use std::path::{Path, PathBuf};

/// The files of one log at one moment, in order: what is sealed, and then what is not.
pub(super) struct Layout {
    pub(super) sealed: Vec<Sealed>,
    pub(super) wal: Vec<Open>,
}

/// A WAL segment; open, so that it stays readable when it is sealed and removed meanwhile.
pub(super) struct Open {
    /// Index of its first record, as its name says.
    pub(super) first: u64,
    pub(super) path: PathBuf,
    /// What it says of itself, or why that cannot be read.
    pub(super) segment: Result<(Reader, Header), &'static str>,
}

impl Layout {
    /// Index of the first record there is.
    pub(super) fn first(&self) -> Option<u64> {
        self.sealed.first().map(|segment| segment.first).or(self.wal.first().map(|segment| segment.first))
    }
}

/// Looks at a log; `home` is the directory of its origin.
pub(super) fn look(home: &Path) -> Result<Layout, AuditError> {
    let folder = home.join("wal");
    // A segment is sealed before it is removed: whoever looks in this order misses none.
    let mut wal = loop {
        match open_all(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {}
            opened => break opened.map_err(AuditError::at(&folder))?,
        }
    };
    let sealed = sealed::list(home).map_err(AuditError::at(home))?;
    let behind = sealed.last().map_or(0, |last| last.last + 1);
    wal.retain(|open| open.first >= behind);
    Ok(Layout { sealed, wal })
}

fn open_all(folder: &Path) -> io::Result<Vec<Open>> {
    let listed = segment::list(folder)?.into_iter();
    listed.map(|(first, path)| Ok(Open { first, segment: Reader::open(&path)?, path })).collect()
}
