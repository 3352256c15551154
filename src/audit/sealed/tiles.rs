//! The hashes of a sealed segment: what proofs are made of, without reading a record.
//!
//! For each height 0, 8, 16, ... the file holds the roots of the full subtrees of that height whose last leaf is in the segment,
//! in order. So every such root of a log is in exactly one segment, at a place that can be computed. All numbers are little endian.
//!
//! ```text
//! "kt-tiles" | u32 version | u32 zero | u64 first | u64 last | the tree before `first`: one hash (32) for each bit set in it
//! height 0   the leaves
//! height 8   ...
//! ```

use super::{Durable, Growing, Sealed, invalid};
use crate::audit::merkle::{Frontier, Hash};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

const MAGIC: &[u8; 8] = b"kt-tiles";
const VERSION: u32 = 1;
const HEAD: usize = 32;
const WIDTH: u64 = size_of::<Hash>() as u64;

pub(super) fn write(mut out: Durable, tree: &Growing) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&[0; 4])?;
    out.write_all(&tree.before.size().to_le_bytes())?;
    out.write_all(&(tree.frontier.size() - 1).to_le_bytes())?;
    for hash in tree.before.peaks().iter().chain(tree.levels.iter().flatten()) {
        out.write_all(hash)?;
    }
    out.finish()
}

/// The hashes of one segment.
#[derive(Debug)]
pub struct Tiles {
    file: File,
    /// The tree before the segment's first record.
    pub before: Frontier,
    first: u64,
    last: u64,
    /// Where the leaves begin.
    at: u64,
}

impl Tiles {
    /// Opens the hashes of a segment.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` when they are not of this segment.
    pub fn open(sealed: &Sealed) -> io::Result<Tiles> {
        let file = File::open(sealed.path("tiles"))?;
        let damaged = || invalid("the hashes of the segment are damaged");
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        let expected = [sealed.first.to_le_bytes(), sealed.last.to_le_bytes()].concat();
        if &head[..8] != MAGIC || head[8..12] != VERSION.to_le_bytes() || head[16..] != expected[..] {
            return Err(damaged());
        }
        let mut peaks = vec![[0; 32]; sealed.first.count_ones() as usize];
        file.read_exact_at(peaks.as_flattened_mut(), HEAD as u64)?;
        let at = HEAD as u64 + peaks.len() as u64 * WIDTH;
        let before = Frontier::from_parts(sealed.first, &peaks).ok_or_else(damaged)?;
        Ok(Tiles { file, before, first: sealed.first, last: sealed.last, at })
    }

    /// All leaves, in order.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn leaves(&self) -> io::Result<Vec<Hash>> {
        let mut leaves = vec![[0; 32]; (self.last - self.first + 1) as usize];
        self.file.read_exact_at(leaves.as_flattened_mut(), self.at)?;
        Ok(leaves)
    }

    /// Whether it holds exactly these hashes.
    pub(in crate::audit) fn holds(&self, tree: &Growing) -> io::Result<bool> {
        let expected = tree.levels.concat();
        if self.file.metadata()?.len() != self.at + expected.len() as u64 * WIDTH {
            return Ok(false);
        }
        let mut found = vec![[0; 32]; expected.len()];
        self.file.read_exact_at(found.as_flattened_mut(), self.at)?;
        Ok(found == expected)
    }

    /// The root of a full subtree of a height that 8 divides and whose last leaf is in this segment; none for any other.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn node(&self, height: u32, index: u64) -> io::Result<Option<Hash>> {
        let held = |height: u32| (self.first >> height)..((self.last + 1) >> height);
        if !height.is_multiple_of(8) || height >= u64::BITS || !held(height).contains(&index) {
            return Ok(None);
        }
        let before: u64 = (0..height).step_by(8).map(|lower| held(lower).count() as u64).sum();
        let place = self.at + (before + index - (self.first >> height)) * WIDTH;
        let mut hash = [0; 32];
        self.file.read_exact_at(&mut hash, place)?;
        Ok(Some(hash))
    }
}
