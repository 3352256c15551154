//! Writes a log as the exact static tree of the format, record by record, with a few kilobytes in memory.

use super::bundle::{self, TooLong};
use super::{CHECKPOINT, Edge, KEY, Row, Tile, WIDTH};
use crate::audit::merkle::{Frontier, Hash, leaf_hash};
use crate::audit::note::{Checkpoint, NoteError, Verifier};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A tree cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory holds something.
    #[error("{}: not empty; a tree is written into a directory of its own", .0.display())]
    NotEmpty(PathBuf),
    /// A record beyond the format.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The note is not a checkpoint of this key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint is of another tree than was written.
    #[error("the checkpoint is of {} records, and they or the {written} written are not the same", .checkpoint.size)]
    OtherTree {
        /// What the checkpoint says.
        checkpoint: Checkpoint,
        /// Records of the tree.
        written: u64,
    },
    /// The log begins, and ends, in the middle of one bundle, of which the beginning is gone.
    #[error("the records from {from} on do not reach {minimum}, where the first whole bundle begins")]
    TooShort {
        /// Where the log begins.
        from: u64,
        /// The first record that could be written.
        minimum: u64,
    },
}

/// Takes the records of a log in order and writes its tree. Files are 0600 and directories 0700: records are not for everyone.
///
/// The checkpoint comes last, so a directory with a checkpoint is whole; it alone is forced to disk.
#[derive(Debug)]
pub struct TreeWriter {
    dir: PathBuf,
    from: u64,
    edge: Edge,
    bundle: Vec<u8>,
}

impl TreeWriter {
    /// Begins a tree in a directory that is empty or not there yet. The records before `edge` have been given up: an
    /// [`Edge::new`] for a whole log.
    ///
    /// # Errors
    /// [`WriteError::Io`] and [`WriteError::NotEmpty`].
    pub fn create(dir: &Path, edge: Edge) -> Result<TreeWriter, WriteError> {
        make_dir(dir)?;
        match std::fs::read_dir(dir).map_err(at(dir))?.next() {
            None => Ok(TreeWriter { dir: dir.to_path_buf(), from: edge.size(), edge, bundle: Vec::new() }),
            Some(_) => Err(WriteError::NotEmpty(dir.to_path_buf())),
        }
    }

    /// The first record that is written: where the log begins, or the next multiple of 256, since a bundle is whole or not there.
    /// The records between them are hashed into the tree all the same. Whoever verifies the tree names this minimum.
    pub fn minimum(&self) -> u64 {
        self.from.next_multiple_of(WIDTH as u64)
    }

    /// The tree so far.
    pub fn frontier(&self) -> Frontier {
        self.edge.frontier()
    }

    /// Appends the next record.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] leaves the tree as it was; after [`WriteError::Io`] it is of no further use.
    pub fn push(&mut self, entry: &[u8]) -> Result<(), WriteError> {
        if self.edge.size() >= self.minimum() {
            bundle::put(&mut self.bundle, entry)?;
        }
        let (dir, minimum) = (&self.dir, self.minimum());
        self.edge.push(leaf_hash(entry), |tile, hashes| match tile.is_kept(minimum) {
            true => write_hashes(dir, tile, hashes),
            false => Ok(()),
        })?;
        if self.edge.size().is_multiple_of(WIDTH as u64) { self.write_bundle() } else { Ok(()) }
    }

    /// Writes the right edge, the key, and last the checkpoint, which must be signed by that key and be of this very tree.
    ///
    /// # Errors
    /// Any [`WriteError`].
    pub fn finish(mut self, note: &str, verifier: &Verifier) -> Result<Checkpoint, WriteError> {
        let checkpoint = verifier.verify(note)?;
        if checkpoint.size != self.edge.size() || checkpoint.root != self.edge.frontier().root() {
            return Err(WriteError::OtherTree { checkpoint, written: self.edge.size() });
        }
        if self.minimum() > self.edge.size() {
            return Err(WriteError::TooShort { from: self.from, minimum: self.minimum() });
        }
        self.write_bundle()?;
        for (tile, hashes) in self.edge.tiles() {
            write_hashes(&self.dir, tile, hashes)?;
        }
        write(&self.dir, KEY, format!("{verifier}\n").as_bytes())?;
        let file = write(&self.dir, "checkpoint.tmp", note.as_bytes())?;
        file.sync_all().map_err(at(&self.dir))?;
        std::fs::rename(self.dir.join("checkpoint.tmp"), self.dir.join(CHECKPOINT)).map_err(at(&self.dir))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(at(&self.dir))?;
        Ok(checkpoint)
    }

    /// Writes the records since the last bundle; nothing when there are none.
    fn write_bundle(&mut self) -> Result<(), WriteError> {
        let last = self.edge.size().saturating_sub(1) / WIDTH as u64;
        if let Some(tile) = Tile::of(Row::Entries, last, self.edge.size()).filter(|_| !self.bundle.is_empty()) {
            write(&self.dir, &tile.to_string(), &self.bundle)?;
            self.bundle.clear();
        }
        Ok(())
    }
}

fn write_hashes(dir: &Path, tile: Tile, hashes: &[Hash]) -> Result<(), WriteError> {
    write(dir, &tile.to_string(), hashes.as_flattened()).map(drop)
}

fn write(dir: &Path, name: &str, content: &[u8]) -> Result<File, WriteError> {
    let path = dir.join(name);
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let opened = match (open(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            make_dir(parent)?;
            open()
        }
        (opened, _) => opened,
    };
    let mut file = opened.map_err(at(&path))?;
    file.write_all(content).map_err(at(&path))?;
    Ok(file)
}

fn make_dir(dir: &Path) -> Result<(), WriteError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_path_buf();
    move |source| WriteError::Io { path, source }
}
