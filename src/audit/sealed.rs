//! Segments that are full, in the form they are kept: smaller, quick to search, and ready to prove each record.
//!
//! A sealed segment is three files in `sealed/`, named after its first and its last record:
//!
//! * `.entries.zst`: the records, one zstd frame for each run of up to 256 that a tile of the tree covers ([`entries`])
//! * `.tiles`: the hashes of the tree that its records complete ([`tiles`])
//! * `.idx`: where each run begins, and which terms occur in it ([`index`])
//!
//! The index is written last: a segment without one is not sealed yet, and its WAL file is still there. Sealing reads nothing but
//! durable records that a checkpoint covers, so a sealed segment never changes again.

pub mod entries;
pub mod index;
pub mod terms;
pub mod tiles;

use super::merkle::{Frontier, Hash};
use super::segment::{Frame, Reader};
use super::{AuditError, books::Books};
use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// One sealed segment, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sealed {
    /// Index of its first record.
    pub first: u64,
    /// Index of its last record.
    pub last: u64,
    folder: PathBuf,
}

impl Sealed {
    /// Its three files.
    pub fn files(&self) -> [PathBuf; 3] {
        [self.path("entries.zst"), self.path("tiles"), self.path("idx")]
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{:020}-{:020}.{kind}", self.first, self.last))
    }
}

/// The sealed segments of a log, in order. `home` is the directory of the origin.
pub fn list(home: &Path) -> io::Result<Vec<Sealed>> {
    let folder = home.join("sealed");
    let mut found = Vec::new();
    let listing = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        listing => listing?,
    };
    for file in listing {
        let name = file?.file_name();
        let range = name.to_str().and_then(|name| name.strip_suffix(".idx")).and_then(|name| name.split_once('-'));
        if let Some((first, last)) = range
            && let (Ok(first), Ok(last)) = (first.parse(), last.parse())
        {
            found.push(Sealed { first, last, folder: folder.clone() });
        }
    }
    found.sort();
    Ok(found)
}

/// Removes what a crash left behind: of sealing, which begins anew, and of pruning, which was all but done.
pub(super) fn sweep(home: &Path) -> io::Result<()> {
    let folder = home.join("sealed");
    if !folder.is_dir() {
        return Ok(());
    }
    let whole: HashSet<PathBuf> = list(home)?.iter().flat_map(Sealed::files).collect();
    for file in std::fs::read_dir(&folder)? {
        let path = file?.path();
        if !whole.contains(&path) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Seals the records of a WAL segment up to and with `last`. `books` holds the exchanges open before it, and after it those open
/// then. The WAL file is left alone.
///
/// # Errors
/// Those of the file system, and `InvalidData` when the segment does not hold what it should: it was changed after it was written.
pub fn seal(home: &Path, wal: &Path, last: u64, books: &mut Books) -> Result<Sealed, AuditError> {
    let folder = home.join("sealed");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(AuditError::at(&folder))?;
    let mut work = || -> io::Result<Sealed> {
        let (mut reader, header) = Reader::open(wal)?.map_err(invalid)?;
        let sealed = Sealed { first: header.before.size(), last, folder: folder.clone() };
        let mut tree = Growing::new(header.before);
        let mut entries = entries::Writer::new(Durable::create(sealed.path("entries.zst"))?)?;
        let mut index = index::Builder::new(sealed.first, books);
        while tree.frontier.size() <= last {
            let Frame::Whole { leaf } = reader.advance()? else { return Err(invalid("records are missing")) };
            let at = tree.frontier.size();
            tree.push(leaf);
            index.add(reader.entry());
            entries.add(at, reader.entry())?;
            books.enter(at, reader.entry()).map_err(invalid)?;
        }
        let places = entries.finish()?;
        tiles::write(Durable::create(sealed.path("tiles"))?, &tree)?;
        index::write(Durable::create(sealed.path("idx"))?, &index.finish(places, books), &sealed)?;
        Ok(sealed)
    };
    work().map_err(AuditError::at(wal))
}

/// A tree that keeps what its new leaves complete: the hashes of full subtrees of height 0, 8, 16, ...
pub(super) struct Growing {
    pub(super) before: Frontier,
    pub(super) frontier: Frontier,
    /// By height over 8.
    pub(super) levels: Vec<Vec<Hash>>,
}

impl Growing {
    pub(super) fn new(before: Frontier) -> Growing {
        Growing { frontier: before.clone(), before, levels: Vec::new() }
    }

    pub(super) fn push(&mut self, leaf: Hash) {
        let Growing { frontier, levels, .. } = self;
        frontier.push_seen(leaf, &mut |height, hash| {
            let level = (height / 8) as usize;
            if height.is_multiple_of(8) {
                levels.resize_with(levels.len().max(level + 1), Vec::new);
                levels[level].push(*hash);
            }
        });
    }
}

/// A file that appears whole or not at all: written under another name, synced, and renamed.
pub(super) struct Durable {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Durable {
    pub(super) fn create(path: PathBuf) -> io::Result<Durable> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial(&path))?;
        if let Some(folder) = path.parent() {
            hand_over(&file, folder)?;
        }
        Ok(Durable { path, file: BufWriter::with_capacity(1 << 18, file) })
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(partial(&self.path), &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Write for Durable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What root puts into a folder that is somebody else's is theirs: the gateway must be able to read it.
pub(super) fn hand_over(file: &File, folder: &Path) -> io::Result<()> {
    let (made, folder) = (file.metadata()?, folder.metadata()?);
    if made.uid() == 0 && folder.uid() != 0 { fchown(file, Some(folder.uid()), Some(folder.gid())) } else { Ok(()) }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

pub(super) fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
