//! Reads the files of a tree: for proofs about it, and for the verifier. Nothing read here is authenticated.

use super::{HEIGHT, Row, Tile};
use crate::audit::merkle::{Frontier, Hash, Nodes};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A directory of tiles and the size of its tree. A proof made of it is worth what its verification says.
#[derive(Debug, Clone)]
pub struct TreeReader {
    dir: PathBuf,
    size: u64,
}

impl TreeReader {
    /// The tree below a directory, of the size its checkpoint names.
    pub fn new(dir: &Path, size: u64) -> TreeReader {
        TreeReader { dir: dir.to_path_buf(), size }
    }

    /// The hashes of a tile of hashes.
    ///
    /// # Errors
    /// [`io::Error`]: no such file, or `InvalidData` when it has not exactly the tile's width.
    pub fn hashes(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        let length = usize::from(tile.width) * size_of::<Hash>();
        let bytes = read(&self.dir.join(tile.to_string()), length)?;
        let (hashes, rest) = bytes.as_chunks();
        if rest.is_empty() && hashes.len() == usize::from(tile.width) {
            Ok(hashes.to_vec())
        } else {
            Err(ErrorKind::InvalidData.into())
        }
    }

    /// The bytes of a bundle.
    ///
    /// # Errors
    /// [`io::Error`]: no such file, or `FileTooLarge` beyond what a bundle can have.
    pub fn bundle(&self, tile: Tile) -> io::Result<Vec<u8>> {
        read(&self.dir.join(tile.to_string()), super::bundle::MAX_BUNDLE)
    }

    /// One record.
    ///
    /// # Errors
    /// [`io::Error`]: as [`TreeReader::bundle`], and `InvalidData` when the bundle holds no such record.
    pub fn entry(&self, index: u64) -> io::Result<Vec<u8>> {
        let place = index / super::WIDTH as u64;
        let tile = Tile::of(Row::Entries, place, self.size).ok_or(ErrorKind::NotFound)?;
        let bundle = self.bundle(tile)?;
        let entry = super::bundle::entries(&bundle).nth((index % super::WIDTH as u64) as usize);
        entry.and_then(Result::ok).map(<[u8]>::to_vec).ok_or_else(|| ErrorKind::InvalidData.into())
    }
}

impl Nodes for TreeReader {
    type Error = io::Error;

    fn node(&self, height: u32, index: u64) -> io::Result<Hash> {
        // The node is the root of some hashes that stand side by side in one tile.
        let (level, inside) = (height / HEIGHT, height % HEIGHT);
        let first = index << inside;
        let row = Row::Level(u8::try_from(level).map_err(|_| ErrorKind::InvalidInput)?);
        let tile = Tile::of(row, first >> HEIGHT, self.size).ok_or(ErrorKind::NotFound)?;
        let hashes = self.hashes(tile)?;
        let from = (first % super::WIDTH as u64) as usize;
        let below = hashes.get(from..from + (1 << inside)).ok_or(ErrorKind::NotFound)?;
        let mut subtree = Frontier::new();
        below.iter().for_each(|hash| subtree.push(*hash));
        Ok(subtree.root())
    }
}

/// A whole file, unless it is longer than `most` bytes.
pub(super) fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}
