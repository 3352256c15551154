//! Proves that a record is in the log, to someone who has nothing but the record and the log's key.

use super::note::{Checkpoint, NoteError, Verifier};
use super::origin::Origin;
use super::parts::Parts;
use super::query::{Filter, Search};
use super::tlog_proof::{TlogProof, TlogProofError};
use super::tree::LogTree;
use super::{AuditError, checkpoints};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

#[cfg(test)]
mod tests;

/// How often a proof is made anew when the log was sealed or pruned while it was made.
const TRIES: u32 = 5;

/// A record and its proof.
#[derive(Debug)]
pub struct Proved {
    /// The record, byte for byte.
    pub entry: Vec<u8>,
    /// The proof, which was checked.
    pub proof: TlogProof,
    /// The head of the log it leads to.
    pub checkpoint: Checkpoint,
    /// The key that signed that.
    pub key: Verifier,
}

/// There is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The newest checkpoint is older than the record.
    #[error(
        "record {index} is not covered by a checkpoint yet ({size} records are); while a gateway runs, one comes within a second"
    )]
    NotCovered {
        /// The record.
        index: u64,
        /// Records that are covered.
        size: u64,
    },
    /// There is no such record.
    #[error("there is no record {index}; the log has {size}")]
    NoRecord {
        /// The one asked for.
        index: u64,
        /// Number of records.
        size: u64,
    },
    /// The key or the checkpoint beside the log.
    #[error("the checkpoint of {origin}: {why}; `kt audit verify` says what is wrong")]
    Checkpoint {
        /// The log.
        origin: Origin,
        /// What is wrong.
        why: NoteError,
    },
    /// The log does not hold what was signed.
    #[error("the log is not what was signed: {0}; `kt audit verify` says where")]
    Wrong(#[from] TlogProofError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] AuditError),
}

/// Proves the record at an index. A gateway may be writing, sealing and pruning.
///
/// # Errors
/// [`ProveError`].
pub fn prove(dir: &Path, origin: &Origin, index: u64) -> Result<Proved, ProveError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt(dir, origin, index) {
            Err(ProveError::Wrong(_)) if tries < TRIES => {}
            Err(ProveError::Log(AuditError::Io { source, .. })) if source.kind() == ErrorKind::NotFound && tries < TRIES => {}
            done => return done,
        }
    }
}

fn attempt(dir: &Path, origin: &Origin, index: u64) -> Result<Proved, ProveError> {
    let home = origin.below(dir);
    let bad = |why| ProveError::Checkpoint { origin: origin.clone(), why };
    let newest = checkpoints::newest(&home).map_err(AuditError::at(&checkpoints::newest_path(&home)))?;
    let parts = Parts::list(dir, origin)?;
    if index < parts.first() {
        return Err(AuditError::Pruned { first: parts.first(), wanted: index }.into());
    }
    let tree = LogTree::open(dir, origin)?;
    if index >= tree.size() {
        return Err(ProveError::NoRecord { index, size: tree.size() });
    }
    let Some(note) = newest else { return Err(ProveError::NotCovered { index, size: 0 }) };
    let path = home.join("key.pub");
    let key = std::fs::read_to_string(&path).map_err(AuditError::at(&path))?;
    let key = Verifier::parse(key.trim_end()).map_err(bad)?;
    let checkpoint = key.verify(&note).map_err(bad)?;
    let Some(proof) = TlogProof::make(&tree, index, checkpoint.size, &note)? else {
        return Err(ProveError::NotCovered { index, size: checkpoint.size });
    };
    let entry = record(parts, index)?.ok_or(ProveError::NoRecord { index, size: tree.size() })?;
    let checkpoint = proof.verify(&entry, &key)?;
    Ok(Proved { entry, proof, checkpoint, key })
}

/// The record at an index.
///
/// # Errors
/// `Damaged` when its segment is not what was written, and those of the file system.
fn record(parts: Parts, index: u64) -> Result<Option<Vec<u8>>, AuditError> {
    let mut found = None;
    Search::new(parts, &Filter::default()).each(index, &mut |at, entry, _| -> Result<_, AuditError> {
        found = (at == index).then(|| entry.to_vec());
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}
