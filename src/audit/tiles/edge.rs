//! The right edge of a tree in tiles: what must be known of it to let it grow, and to write every tile to come.

use super::{HEIGHT, Row, Tile, WIDTH};
use crate::audit::merkle::{Frontier, Hash, MAX_SIZE, Nodes};

/// The partial tiles of a tree: at most 255 hashes a level, one level for every factor 256 of its size.
///
/// It is what must be kept of records that are given up (retention): a [`Frontier`] is enough for proofs about the records that
/// stay, but the tiles that lie across the cut also hold hashes from before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    /// By level; the last one may be empty.
    rows: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a tree without records.
    pub fn new() -> Edge {
        Edge::default()
    }

    /// The edge of the tree of the first `size` records, read from its nodes: at most 255 of every eighth height.
    ///
    /// # Errors
    /// What [`Nodes::node`] says.
    pub fn of<N: Nodes>(nodes: &N, size: u64) -> Result<Edge, N::Error> {
        let row = |level| {
            let items = size >> (HEIGHT * level);
            (items - items % WIDTH as u64..items).map(|item| nodes.node(HEIGHT * level, item)).collect()
        };
        Ok(Edge { size, rows: (0..levels(size)).map(row).collect::<Result<_, _>>()? })
    }

    /// Its bytes, to be kept with a log whose beginning is given up: the size (u64, big endian), then the hashes, lowest level
    /// first.
    pub fn encode(&self) -> Vec<u8> {
        [&self.size.to_be_bytes(), self.rows.concat().as_flattened()].concat()
    }

    /// Reads what [`Edge::encode`] wrote. Whether it is the edge of a certain tree, its [`Edge::frontier`] says.
    pub fn parse(bytes: &[u8]) -> Option<Edge> {
        let (size, hashes) = bytes.split_first_chunk()?;
        let (size, (hashes, rest)) = (u64::from_be_bytes(*size), hashes.as_chunks());
        let mut left = hashes.iter();
        let rows =
            (0..levels(size)).map(|level| left.by_ref().take((size >> (HEIGHT * level)) as usize % WIDTH).copied().collect());
        let edge = Edge { size, rows: rows.collect() };
        (rest.is_empty() && size <= MAX_SIZE && edge.encode() == bytes).then_some(edge)
    }

    /// Number of records.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf, and hands over every tile that this makes full, lowest level first.
    ///
    /// # Errors
    /// What `full` says; the edge is of no further use then.
    pub fn push<E>(&mut self, leaf: Hash, mut full: impl FnMut(Tile, &[Hash]) -> Result<(), E>) -> Result<(), E> {
        self.size += 1;
        let mut item = leaf;
        for level in 0_u8.. {
            if self.rows.len() == usize::from(level) {
                self.rows.push(Vec::with_capacity(WIDTH));
            }
            let Some(row) = self.rows.get_mut(usize::from(level)) else { break };
            row.push(item);
            if row.len() < WIDTH {
                break;
            }
            let tile =
                Tile { row: Row::Level(level), index: (self.size >> (HEIGHT * u32::from(level + 1))) - 1, width: WIDTH as u16 };
            full(tile, row)?;
            item = frontier_of(row).root();
            row.clear();
        }
        Ok(())
    }

    /// The partial tiles, lowest level first.
    pub fn tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        (0..).zip(&self.rows).filter(|(_, row)| !row.is_empty()).map(|(level, row)| {
            let row_of = Row::Level(level);
            let index = row_of.items(self.size) / WIDTH as u64;
            (Tile { row: row_of, index, width: row.len() as u16 }, row.as_slice())
        })
    }

    /// The root of a full subtree as high as a row of tiles, where this edge holds it.
    pub fn node(&self, height: u32, index: u64) -> Option<Hash> {
        let row = self.rows.get((height / HEIGHT) as usize).filter(|_| height.is_multiple_of(HEIGHT))?;
        let items = self.size >> height;
        row.get(usize::try_from(index.checked_sub(items - items % WIDTH as u64)?).ok()?).copied()
    }

    /// The same tree in its compact form.
    pub fn frontier(&self) -> Frontier {
        // A row of hashes is a small tree: its peaks are peaks of the whole.
        let peaks: Vec<Hash> = self.rows.iter().rev().flat_map(|row| frontier_of(row).peaks().to_vec()).collect();
        Frontier::from_parts(self.size, &peaks).unwrap_or_default()
    }
}

/// How many rows a tree of that size has.
fn levels(size: u64) -> u32 {
    size.checked_ilog2().map_or(0, |bits| bits / HEIGHT + 1)
}

fn frontier_of(row: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    row.iter().for_each(|hash| frontier.push(*hash));
    frontier
}
