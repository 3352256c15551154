//! Verifies a tree on disk in full: every byte of every file is accounted for by the signed checkpoint, or the tree is refused.
//!
//! Readers that fetch some tiles and check a path through them have been deceived by a tile that was never on the path
//! (CVE-2026-56865). Here the tree is computed again from the records alone, and everything stored is compared with it.

use super::reader::{self, TreeReader};
use super::{CHECKPOINT, Edge, KEY, Row, Tile, WIDTH, bundle};
use crate::audit::merkle::{Hash, leaf_hash};
use crate::audit::note::{Checkpoint, MAX_NOTE, NoteError, Verifier};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A tree in which everything is as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The head.
    pub checkpoint: Checkpoint,
    /// The first record there is: the rest from there to the size has been read.
    pub minimum: u64,
}

/// What is wrong with a tree: the first thing that is, in the order of the records.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The checkpoint is not a signed head of this log.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// `key.pub` is there and is not the key asked for.
    #[error("key.pub: not the key that this tree is verified with")]
    Key,
    /// The tree ends before the record from which on it should be there.
    #[error("the tree has {size} records and should be there from {minimum} on")]
    Minimum {
        /// Records of the tree.
        size: u64,
        /// The first one asked for.
        minimum: u64,
    },
    /// A file disagrees with the records below it, or is not what it should be.
    #[error("record {index}: {path} {why}")]
    Record {
        /// The first record at fault, or the first of those below the hash at fault.
        index: u64,
        /// The file that shows it.
        path: String,
        /// In which way.
        why: &'static str,
    },
    /// All files agree with each other, and not with the checkpoint.
    #[error("the {size} records do not lead to the root that was signed")]
    Root {
        /// Records of the tree.
        size: u64,
    },
    /// A file below `tile` that is no part of the tree, so nothing vouches for it.
    #[error("{}: no part of the tree", .0.display())]
    Stray(PathBuf),
}

/// Verifies the tree below a directory with a key that was had from elsewhere. `minimum` is the first record that must still be
/// there: 0 for a log that never gave up any. It is for whoever verifies to say, as whoever removed records could say anything.
///
/// # Errors
/// The first [`Flaw`].
pub fn verify_tree(dir: &Path, verifier: &Verifier, minimum: u64) -> Result<Verified, Flaw> {
    let checkpoint = verifier.verify(&read_note(&dir.join(CHECKPOINT))?)?;
    check_key(&dir.join(KEY), verifier)?;
    let size = checkpoint.size;
    if minimum > size {
        return Err(Flaw::Minimum { size, minimum });
    }
    let files = TreeReader::new(dir, size);
    let edge = compare(&files, size, minimum)?;
    if edge.frontier().root() != checkpoint.root {
        return Err(Flaw::Root { size });
    }
    refuse_strays(&dir.join("tile"), "tile", size, minimum)?;
    Ok(Verified { checkpoint, minimum })
}

/// Computes the tree from the records and compares every tile with it.
fn compare(files: &TreeReader, size: u64, minimum: u64) -> Result<Edge, Flaw> {
    let first = minimum / WIDTH as u64;
    // What lies before is known by its hashes only. They are part of the root, which is compared in the end.
    let start = first * WIDTH as u64;
    let mut edge = Edge::of(files, start).map_err(|error| unreadable(error, start, "the tile across the minimum".into()))?;
    for index in first..size.div_ceil(WIDTH as u64) {
        let Some(tile) = Tile::of(Row::Entries, index, size) else { break };
        let bytes = files.bundle(tile).map_err(|error| unreadable(error, tile.first(), tile.to_string()))?;
        let record = |item: usize, why| Flaw::Record { index: tile.record_of(item), path: tile.to_string(), why };
        let mut items = 0;
        for entry in bundle::entries(&bytes) {
            let entry = entry.map_err(|_| record(items, "ends in the middle of it"))?;
            if items == usize::from(tile.width) {
                return Err(record(items, "holds more records than it may"));
            }
            edge.push(leaf_hash(entry), |tile, hashes| same(files, tile, hashes))?;
            items += 1;
        }
        if items < usize::from(tile.width) {
            return Err(record(items, "does not hold it"));
        }
    }
    for (tile, hashes) in edge.tiles() {
        same(files, tile, hashes)?;
    }
    Ok(edge)
}

/// Compares a tile on disk with the hashes computed for it.
fn same(files: &TreeReader, tile: Tile, computed: &[Hash]) -> Result<(), Flaw> {
    let stored = files.hashes(tile).map_err(|error| unreadable(error, tile.first(), tile.to_string()))?;
    match stored.iter().zip(computed).position(|(stored, computed)| stored != computed) {
        None => Ok(()),
        Some(item) => {
            let why = "does not hold the hash of what is below it";
            Err(Flaw::Record { index: tile.record_of(item), path: tile.to_string(), why })
        }
    }
}

/// Every file below `tile` must be one that was compared. Directories are as deep as the longest index, and no deeper.
fn refuse_strays(dir: &Path, below: &str, size: u64, minimum: u64) -> Result<(), Flaw> {
    let list = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound && below == "tile" => return Ok(()),
        list => list.map_err(at(dir))?,
    };
    for entry in list {
        let entry = entry.map_err(at(dir))?;
        let name = entry.file_name();
        let path = format!("{below}/{}", name.to_string_lossy());
        if entry.file_type().map_err(at(&entry.path()))?.is_dir() && path.len() < MAX_PATH {
            refuse_strays(&entry.path(), &path, size, minimum)?;
        } else {
            let part = name.to_str().and_then(|_| Tile::parse(&path));
            let known = part.filter(|tile| Tile::of(tile.row, tile.index, size) == Some(*tile) && tile.is_kept(minimum));
            known.map(drop).ok_or_else(|| Flaw::Stray(entry.path()))?;
        }
    }
    Ok(())
}

/// More than the longest path of a tile has.
const MAX_PATH: usize = 64;

fn read_note(path: &Path) -> Result<String, Flaw> {
    let bytes = match reader::read(path, MAX_NOTE) {
        Err(error) if error.kind() == ErrorKind::FileTooLarge => return Err(NoteError::TooLong.into()),
        read => read.map_err(at(path))?,
    };
    String::from_utf8(bytes).map_err(|_| NoteError::Form.into())
}

fn check_key(path: &Path, verifier: &Verifier) -> Result<(), Flaw> {
    match reader::read(path, MAX_NOTE) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(key) if key != format!("{verifier}\n").as_bytes() => Err(Flaw::Key),
        read => read.map(drop).map_err(at(path)),
    }
}

fn unreadable(error: io::Error, index: u64, path: String) -> Flaw {
    match error.kind() {
        ErrorKind::NotFound => Flaw::Record { index, path, why: "is missing" },
        ErrorKind::InvalidData | ErrorKind::FileTooLarge => Flaw::Record { index, path, why: "is not as long as it should be" },
        _ => Flaw::Io { path: path.into(), source: error },
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Flaw {
    let path = path.to_path_buf();
    move |source| Flaw::Io { path, source }
}
