//! The Merkle tree of a log as its files hold it: what proofs are read from. Nothing is hashed that is sealed.

use super::AuditError;
use super::layout::{self, Layout, Open};
use super::merkle::{Frontier, Hash, Nodes, node_hash};
use super::origin::Origin;
use super::sealed::{self, Durable, Sealed, tiles::Tiles};
use super::segment::Frame;
use super::tiles::Edge;
use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The tree of one log. The records behind what is sealed are those that were there when it was opened.
pub struct LogTree {
    /// All that was pruned.
    before: Frontier,
    /// The same with the hashes that the next pruning, and an export, need of it.
    edge: Option<Edge>,
    home: PathBuf,
    sealed: Vec<Sealed>,
    /// Leaves behind what is sealed, the first with this index.
    wal: (u64, Vec<Hash>),
}

impl LogTree {
    /// Reads the tree of a log. What its files say is believed: a proof made of it is worth what its root is worth.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` where a file is not what it should be.
    pub fn open(dir: &Path, origin: &Origin) -> Result<LogTree, AuditError> {
        LogTree::at(&origin.below(dir))
    }

    /// The same, given the directory of the origin.
    pub(super) fn at(home: &Path) -> Result<LogTree, AuditError> {
        let Layout { sealed, wal } = layout::look(home)?;
        let mut before = match sealed.first() {
            Some(first) => Some(tiles(first)?.before),
            None => None,
        };
        let sealed_to = sealed.last().map_or(0, |last| last.last + 1);
        let mut leaves = Vec::new();
        let mut wal = wal.into_iter().peekable();
        while let Some(Open { first, path, segment }) = wal.next() {
            let until = wal.peek().map_or(u64::MAX, |next| next.first);
            let (mut reader, header) = segment.map_err(sealed::invalid).map_err(AuditError::at(&path))?;
            before.get_or_insert(header.before);
            let mut next = first;
            while next < until
                && let Frame::Whole { leaf } = reader.advance().map_err(AuditError::at(&path))?
            {
                leaves.push(leaf);
                next += 1;
            }
        }
        let before = before.unwrap_or_default();
        let wal = (sealed_to.max(before.size()), leaves);
        let edge = edge(home, &before)?;
        Ok(LogTree { before, edge, home: home.to_path_buf(), sealed, wal })
    }

    /// Number of records there ever were.
    pub fn size(&self) -> u64 {
        self.wal.0 + self.wal.1.len() as u64
    }

    /// Index of the first record that is left.
    pub fn first(&self) -> u64 {
        self.before.size()
    }

    /// The edge of the tree before the first record that is left: what an export of the tree begins with. None where pruning left
    /// nothing to begin with, which no pruning of ours does.
    pub fn edge(&self) -> Option<&Edge> {
        self.edge.as_ref()
    }

    /// Keeps the edge at a record before which all is about to be pruned, durably.
    pub(super) fn keep_edge(&self, first: u64) -> Result<(), AuditError> {
        let (folder, path) = (self.home.join("pruned"), edge_path(&self.home, first));
        let edge = Edge::of(self, first)?.encode();
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let mut file = Durable::create(path.clone())?;
            file.write_all(&edge)?;
            file.finish()
        };
        write().map_err(AuditError::at(&path))
    }

    /// The tree when it had this size, which is not more than it has now and not less than what was pruned.
    ///
    /// # Errors
    /// As [`LogTree::node`].
    pub fn frontier(&self, size: u64) -> Result<Frontier, AuditError> {
        let heights = (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1);
        // The subtree of a bit stands behind those of all higher bits.
        let peaks = heights.map(|height| self.node(height, (size >> height) - 1)).collect::<Result<Vec<_>, _>>()?;
        Frontier::from_parts(size, &peaks).ok_or_else(|| self.gone(0, size))
    }

    fn held(&self, height: u32, index: u64) -> Result<Option<Hash>, AuditError> {
        let last = ((index + 1) << height) - 1;
        if last < self.first() {
            return Ok(peak(&self.before, height, index).or_else(|| self.edge.as_ref()?.node(height, index)));
        }
        let place = self.sealed.partition_point(|segment| segment.last < last);
        match self.sealed.get(place) {
            Some(segment) => Ok(tiles(segment)?.node(height, index).map_err(AuditError::at(&segment.files()[1]))?),
            None if height == 0 => Ok(index.checked_sub(self.wal.0).and_then(|at| self.wal.1.get(at as usize)).copied()),
            None => Ok(None),
        }
    }

    fn gone(&self, height: u32, index: u64) -> AuditError {
        AuditError::Pruned { first: self.first(), wanted: index << height }
    }
}

impl Nodes for LogTree {
    type Error = AuditError;

    fn node(&self, height: u32, index: u64) -> Result<Hash, AuditError> {
        match self.held(height, index)? {
            Some(hash) => Ok(hash),
            None if height == 0 => Err(self.gone(height, index)),
            None => Ok(node_hash(&self.node(height - 1, 2 * index)?, &self.node(height - 1, 2 * index + 1)?)),
        }
    }
}

/// The edge that was kept of what was pruned.
fn edge(home: &Path, before: &Frontier) -> Result<Option<Edge>, AuditError> {
    if before.size() == 0 {
        return Ok(Some(Edge::new()));
    }
    let path = edge_path(home, before.size());
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Edge::parse(&bytes).filter(|edge| edge.frontier() == *before)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::at(&path)(error)),
    }
}

fn edge_path(home: &Path, first: u64) -> PathBuf {
    home.join("pruned").join(format!("{first:020}.edge"))
}

/// A peak of a compact tree, if the subtree asked for is one.
fn peak(tree: &Frontier, height: u32, index: u64) -> Option<Hash> {
    let size = tree.size();
    let is_peak = height < u64::BITS && size >> height & 1 == 1 && (size >> height) - 1 == index;
    let place = (size >> height).count_ones() as usize - usize::from(is_peak);
    tree.peaks().get(place).filter(|_| is_peak).copied()
}

fn tiles(segment: &Sealed) -> Result<Tiles, AuditError> {
    Tiles::open(segment).map_err(AuditError::at(&segment.files()[1]))
}
