//! The log as the static tree of C2SP `tlog-tiles`: what tools that are not ours verify.

use crate::audit::note::{Checkpoint, NoteError, Verifier};
use crate::audit::origin::Origin;
use crate::audit::parts::Parts;
use crate::audit::query::{Effort, Filter, Search};
use crate::audit::tiles::{Edge, TreeWriter, WriteError};
use crate::audit::tree::LogTree;
use crate::audit::{AuditError, checkpoints};
use std::ops::ControlFlow;
use std::path::Path;

/// The tree cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Nothing is signed yet.
    #[error("{0} has no checkpoint yet; while a gateway runs, one comes within a second of its first record")]
    Unsigned(Origin),
    /// The key or the checkpoint beside the log.
    #[error("the checkpoint of {origin}: {why}; `kt audit verify` says what is wrong")]
    Checkpoint {
        /// The log.
        origin: Origin,
        /// What is wrong.
        why: NoteError,
    },
    /// Hashes of pruned records are needed, and gone.
    #[error(
        "records before {first} were pruned, and with them hashes that tiles of the others need: export with --jsonl, and prove with `kt audit prove`"
    )]
    Cut {
        /// Index of the first record that is left.
        first: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] AuditError),
    /// The tree cannot be written, or is not what was signed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the tree of what the newest checkpoint covers into a directory that is empty or not there, and says what that is and
/// how many records were written. `progress` sees how far it is.
///
/// # Errors
/// [`TreeError`].
pub fn write(dir: &Path, origin: &Origin, to: &Path, progress: &mut dyn FnMut(Effort)) -> Result<(Checkpoint, u64), TreeError> {
    let home = origin.below(dir);
    let bad = |why| TreeError::Checkpoint { origin: origin.clone(), why };
    let newest = checkpoints::newest(&home).map_err(AuditError::at(&checkpoints::newest_path(&home)))?;
    let note = newest.ok_or_else(|| TreeError::Unsigned(origin.clone()))?;
    let path = home.join("key.pub");
    let key = std::fs::read_to_string(&path).map_err(AuditError::at(&path))?;
    let key = Verifier::parse(key.trim_end()).map_err(bad)?;
    let size = key.verify(&note).map_err(bad)?.size;
    let parts = Parts::list(dir, origin)?;
    let first = parts.first();
    let edge = match first {
        0 => Edge::new(),
        _ => Edge::of(&LogTree::open(dir, origin)?, first).map_err(|error| match error {
            AuditError::Pruned { .. } => TreeError::Cut { first },
            other => other.into(),
        })?,
    };
    let mut tree = TreeWriter::create(to, edge)?;
    Search::new(parts, &Filter::default()).each(first, &mut |index, entry, effort| -> Result<_, TreeError> {
        if index >= size {
            return Ok(ControlFlow::Break(()));
        }
        if index.is_multiple_of(4096) {
            progress(effort);
        }
        tree.push(entry)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let minimum = tree.minimum();
    Ok((tree.finish(&note, &key)?, size.saturating_sub(minimum)))
}
