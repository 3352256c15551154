//! The log as a directory of static files (C2SP `tlog-tiles`): what a stranger can verify with tools that are not ours.
//!
//! ```text
//! checkpoint                       the signed head
//! key.pub                          the key it is signed with, for convenience: trust comes from elsewhere
//! tile/entries/000                 256 records, each after its length (u16, big endian)
//! tile/entries/273.p/112           the last ones: 112 of them
//! tile/0/000                       the hashes of 256 records
//! tile/1/000                       256 hashes, each the root of a whole tile of level 0; and so on
//! ```
//!
//! A partial tile is never hashed into the level above, so every level has one at most, at its right end: the [`Edge`]. Writing
//! ([`TreeWriter`]) and verifying ([`verify_tree`]) both push leaves into an edge and look at the tiles that fall off: one
//! writes them, the other compares them.

pub mod bundle;
mod edge;
mod reader;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use edge::Edge;
pub use reader::TreeReader;
pub use verify::{Flaw, Verified, verify_tree};
pub use writer::{TreeWriter, WriteError};

use std::fmt;

/// Hashes in a full tile, and records in a full bundle.
pub const WIDTH: usize = 256;
/// The same as a power of two: levels of the Merkle tree that one level of tiles stands for.
pub const HEIGHT: u32 = 8;
/// The head of the log, below the directory.
pub const CHECKPOINT: &str = "checkpoint";
/// The verifier key, below the directory.
pub const KEY: &str = "key.pub";

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Row {
    /// The records themselves: a bundle.
    Entries,
    /// Roots of subtrees of 256^level records; level 0 are the leaf hashes.
    Level(u8),
}

impl Row {
    /// How many items the whole row has in a tree of that size.
    pub fn items(self, size: u64) -> u64 {
        size.checked_shr(self.height()).unwrap_or(0)
    }

    /// The records below one item, as a power of two.
    pub fn height(self) -> u32 {
        match self {
            Row::Entries => 0,
            Row::Level(level) => HEIGHT * u32::from(level),
        }
    }
}

/// The name of one file of the tree. Its text is its path below the directory, such as `tile/1/x001/x234/067.p/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    /// What it holds.
    pub row: Row,
    /// Its place in the row.
    pub index: u64,
    /// How many items it holds: 1 to 256, and less than 256 at the right end of the row only.
    pub width: u16,
}

impl Tile {
    /// The tile at a place of a tree of that size; `None` when the tree does not reach there.
    pub fn of(row: Row, index: u64, size: u64) -> Option<Tile> {
        let before = index.checked_mul(WIDTH as u64)?;
        let width = row.items(size).checked_sub(before)?.min(WIDTH as u64);
        (width > 0).then_some(Tile { row, index, width: width as u16 })
    }

    /// Reads a path, which must be written the one way it is written.
    pub fn parse(path: &str) -> Option<Tile> {
        let (row, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let row = if row == "entries" { Row::Entries } else { Row::Level(row.parse().ok()?) };
        let (index, width) = match place.split_once(".p/") {
            Some((index, width)) => (index, width.parse().ok().filter(|width| (1..WIDTH as u16).contains(width))?),
            None => (place, WIDTH as u16),
        };
        let digits: String = index.split('/').map(|part| part.strip_prefix('x').unwrap_or(part)).collect();
        let tile = Tile { row, index: digits.parse().ok()?, width };
        (tile.to_string() == path).then_some(tile)
    }

    /// The first record below it.
    pub fn first(self) -> u64 {
        self.record_of(0)
    }

    /// The first record below one of its items.
    pub fn record_of(self, item: usize) -> u64 {
        self.index.saturating_mul(WIDTH as u64).saturating_add(item as u64).checked_shl(self.row.height()).unwrap_or(u64::MAX)
    }

    /// Whether a log that gave up all records before `minimum` still has to have it.
    pub fn is_kept(self, minimum: u64) -> bool {
        let height = self.row.height() + HEIGHT;
        height >= u64::BITS || (u128::from(self.index) + 1) << height > u128::from(minimum)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Row::Entries => f.write_str("tile/entries")?,
            Row::Level(level) => write!(f, "tile/{level}")?,
        }
        let thousands = self.index.checked_ilog(1000).unwrap_or(0);
        for power in (1..=thousands).rev() {
            write!(f, "/x{:03}", self.index / 1000_u64.pow(power) % 1000)?;
        }
        write!(f, "/{:03}", self.index % 1000)?;
        if usize::from(self.width) < WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}
