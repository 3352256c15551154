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
        _ => LogTree::open(dir, origin)?.edge().filter(|edge| edge.size() == first).cloned().ok_or(TreeError::Cut { first })?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::note::Signer;
    use crate::audit::query::tests::Made;
    use crate::audit::sealed;
    use crate::audit::tiles::verify_tree;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn the_tree_is_verified_by_strangers_however_often_its_beginning_was_pruned(
            sizes in prop::collection::vec(1usize..700, 2..7), prunings in prop::collection::vec(0usize..3, 0..3),
        ) {
            let mut made = Made::new();
            let mut paths = Vec::new();
            for (n, size) in sizes.iter().enumerate() {
                let entry = |at| format!("{{\"id\":\"{n}-{at}\",\"type\":\"gateway.stop\",\"time\":\"2026-11-21T00:00:00Z\"}}").into_bytes();
                let entries: Vec<Vec<u8>> = (0..*size).map(entry).collect();
                paths.push(made.write(&entries));
            }
            paths.iter().take(paths.len() - 1).for_each(|path| made.seal(path));
            let key = Signer::from_seed("kt/made", &[3; 32]).unwrap();
            made.sign(&key);
            for count in prunings {
                let sealed = sealed::list(&made.home()).unwrap();
                let gone = &sealed[..count.min(sealed.len() - 1)];
                if let Some(last) = gone.last() {
                    LogTree::at(&made.home()).unwrap().keep_edge(last.last + 1).unwrap();
                }
                gone.iter().flat_map(sealed::Sealed::files).for_each(|file| std::fs::remove_file(file).unwrap());
            }
            let to = made.dir.path().join("tree");
            let first = Parts::list(made.dir.path(), &made.origin).unwrap().first();
            match write(made.dir.path(), &made.origin, &to, &mut |_| {}) {
                Ok((checkpoint, records)) => {
                    let minimum = first.next_multiple_of(256);
                    prop_assert_eq!((checkpoint.size, records), (made.entries.len() as u64, checkpoint.size - minimum));
                    verify_tree(&to, key.verifier(), minimum).unwrap();
                }
                Err(TreeError::Write(WriteError::TooShort { .. })) => {
                    prop_assert!(first.next_multiple_of(256) > made.entries.len() as u64);
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
