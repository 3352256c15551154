//! The Merkle tree of RFC 6962 (section 2.1): one hash that stands for every record, and short proofs about it for strangers.
//!
//! A tree grows at its right edge only, so its [`Frontier`] (at most 64 hashes) is all a writer has to keep. Proofs are read from
//! [`Nodes`], the roots of full subtrees, and checked without them: whoever checks needs a root and nothing of ours.
//!
//! ```text
//! size 7:              root                 peaks of the frontier: a (4 leaves), b (2), c (1)
//!                /            \
//!              a                .           inclusion of leaf 4: leaf 5, c, a
//!          /      \           /   \         consistency 6 -> 7:  b, c, a
//!         .        .         b     c
//!        / \      / \       / \    |
//!       0   1    2   3     4   5   6
//! ```

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// The most leaves a tree may have: more than can ever be written, and far enough from overflow.
pub const MAX_SIZE: u64 = 1 << 62;

/// The root of a tree without leaves: `SHA-256("")`.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64,
    0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The hash of a leaf: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`. The first byte keeps nodes and leaves apart.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut node = [1; 65];
    node[1..33].copy_from_slice(left);
    node[33..].copy_from_slice(right);
    Sha256::digest(node).into()
}

/// The compact form of a tree: the roots of its maximal full subtrees, left to right (largest first).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The tree without leaves.
    pub fn new() -> Frontier {
        Frontier::default()
    }

    /// Takes up a tree again. `None` unless there is one peak for every bit set in `size`, or when `size` is beyond [`MAX_SIZE`].
    pub fn from_parts(size: u64, peaks: &[Hash]) -> Option<Frontier> {
        let fits = size <= MAX_SIZE && peaks.len() == size.count_ones() as usize;
        fits.then(|| Frontier { size, peaks: peaks.to_vec() })
    }

    /// Appends a leaf: one node hash on average, 62 at most.
    pub fn push(&mut self, leaf: Hash) {
        self.push_seen(leaf, &mut |_, _| {});
    }

    /// The same, and shows `see` the height and the root of every full subtree that the leaf completes, the leaf first.
    pub fn push_seen(&mut self, leaf: Hash, see: &mut dyn FnMut(u32, &Hash)) {
        let mut top = leaf;
        see(0, &top);
        for height in 1..=self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            top = node_hash(&left, &top);
            see(height, &top);
        }
        self.peaks.push(top);
        self.size += 1;
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash that stands for all leaves.
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or(EMPTY_ROOT)
    }

    /// The roots of the maximal full subtrees, largest first: one for every bit set in the size.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }
}

/// Full subtrees by height and place: what proofs are made of.
pub trait Nodes {
    /// Why a node cannot be had: an unreadable file, or a part of the tree that was pruned.
    type Error;

    /// The root of the leaves from `index << height` up to `(index + 1) << height`. Asked for full subtrees of the tree only.
    fn node(&self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Shows that a leaf is in the tree of `size` leaves: the siblings from the leaf up to below the root, at most 62.
/// There is no leaf at or beyond `size`: the proof is then empty, and nothing verifies with it.
///
/// # Errors
/// What [`Nodes::node`] says.
pub fn inclusion_proof<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    let (mut begin, mut end) = (0, size);
    while index < size && end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            proof.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range(nodes, begin, middle)?);
            begin = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Shows that the tree of `new` leaves begins with the tree of `old` leaves; at most 63 hashes. Empty when there is nothing to
/// show (`old` is 0 or equals `new`) and when `old` is the greater, which nothing verifies with.
///
/// # Errors
/// What [`Nodes::node`] says.
pub fn consistency_proof<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut begin, mut end) = (0, new);
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            proof.push(range(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range(nodes, begin, middle)?);
            begin = middle;
        }
    }
    // Where the old tree is itself the left part, its root is known to whoever checks.
    if begin > 0 {
        proof.push(range(nodes, begin, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// A proof does not show what it is said to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A leaf at or beyond the size, an old tree larger than the new one, or sizes beyond [`MAX_SIZE`].
    #[error("there is no such place in the tree")]
    Place,
    /// Too many or too few hashes for the place.
    #[error("the proof is not as long as this place in the tree needs")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// Checks that a leaf (its [`leaf_hash`]) is at `index` in the tree of `size` leaves with that root (RFC 9162, 2.1.3.2).
///
/// # Errors
/// [`ProofError`] unless the proof is exactly right.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size || size > MAX_SIZE {
        return Err(ProofError::Place);
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            // At the right edge a node without a sibling rises as it is. `place` is not 0 here, for `last` is not.
            let rise = place.trailing_zeros();
            (place, last) = (place >> rise, last >> rise);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    ended(last == 0)?;
    leads_to(&hash, root)
}

/// Checks that the tree of `new` leaves begins with the tree of `old` leaves (RFC 9162, 2.1.4.2).
///
/// # Errors
/// [`ProofError`] unless the proof is exactly right.
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if old > new || new > MAX_SIZE {
        return Err(ProofError::Place);
    }
    if old == 0 || old == new {
        ended(proof.is_empty())?;
        return leads_to(old_root, if old == new { new_root } else { &EMPTY_ROOT });
    }
    let mut rest = proof.iter();
    let rise = (old - 1).trailing_ones();
    let (mut place, mut last) = ((old - 1) >> rise, (new - 1) >> rise);
    let first = if old.is_power_of_two() { old_root } else { rest.next().ok_or(ProofError::Length)? };
    let (mut from_old, mut from_new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            let rise = place.trailing_zeros();
            (place, last) = (place >> rise, last >> rise);
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    ended(last == 0)?;
    leads_to(&from_old, old_root)?;
    leads_to(&from_new, new_root)
}

fn ended(at_the_top: bool) -> Result<(), ProofError> {
    if at_the_top { Ok(()) } else { Err(ProofError::Length) }
}

fn leads_to(hash: &Hash, root: &Hash) -> Result<(), ProofError> {
    if hash == root { Ok(()) } else { Err(ProofError::Root) }
}

/// The largest power of two below `size`, which is at least 2: where RFC 6962 splits a tree.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root of the leaves from `begin` up to `end`, where `begin` is a multiple of the largest power of two that fits.
fn range<N: Nodes>(nodes: &N, mut begin: u64, end: u64) -> Result<Hash, N::Error> {
    let mut peaks = Vec::new();
    while begin < end {
        let height = (end - begin).ilog2();
        peaks.push(nodes.node(height, begin >> height)?);
        begin += 1 << height;
    }
    Ok(fold(&peaks).unwrap_or(EMPTY_ROOT))
}

/// Joins peaks from the right.
fn fold(peaks: &[Hash]) -> Option<Hash> {
    let (last, rest) = peaks.split_last()?;
    Some(rest.iter().rfold(*last, |right, left| node_hash(left, &right)))
}
