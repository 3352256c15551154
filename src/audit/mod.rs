//! The audit log: two records an exchange, append-only, durable, and a Merkle tree over all of them that a stranger can check.
//!
//! # The way of a record
//!
//! ```text
//! request task    Ticket -> entry (JSON, at most 65,535 bytes) -> leaf hash      entry, journal
//!              -> queue: takes the next index, bounded in bytes                  queue
//! audit-frame     leaf into the tree, frame, write; salts and bodies              writer, vault
//! audit-sync      fdatasync of all that was written meanwhile, one for many      writer
//!              -> queue: releases every waiter below the durable index
//! audit-sign      twice a second: a signed checkpoint over what is durable       signer
//! audit-keep      full segments are sealed, and pruned when their time is over   keeper
//! audit-clock     releases the waiters whose time is over                        queue
//! ```
//!
//! Readers are other processes (`kt audit`): they list the segments ([`parts`]), look through them ([`query`]), hand them on
//! ([`export`]), prove records ([`prove`]), check all of it ([`verify`]), and leave word of it in the inbox ([`inbox`]).
//!
//! # On disk, below `<dir>/<origin>/`
//!
//! ```text
//! wal/<first index>.wal          records, as they are written                    segment
//! sealed/<first>-<last>.*        full segments: compressed, with hashes, index   sealed
//! vault/<first index>.vault      salts of commitments, and bodies where they are kept    vault
//! checkpoint, checkpoints/<size> signed roots                                    checkpoints
//! key.pem, key.pub               the signing key, and what checks its signatures note
//! lock                           keeps a second gateway out                      recover
//! torn/                          what recovery cut off                           recover
//! ```
//!
//! # What it proves, and what not
//!
//! Whoever changes, drops, inserts or reorders a record that a checkpoint covers changes the root that was signed, and `kt audit
//! verify` finds it. Whoever may write the files can read the key too, and sign another history: against that only a checkpoint
//! kept elsewhere helps.

pub mod anchors;
pub mod beside;
pub mod books;
pub mod checkpoints;
pub mod commitment;
mod engine;
mod entry;
mod event;
pub mod export;
pub mod fields;
mod handoff;
pub mod holds;
pub mod inbox;
pub mod journal;
mod keeper;
mod layout;
pub mod merkle;
pub mod note;
pub mod origin;
pub mod parts;
pub mod prove;
pub mod query;
mod queue;
pub mod read;
pub mod record;
mod recover;
mod retention;
pub mod scan;
pub mod sealed;
pub mod segment;
mod signer;
#[cfg(feature = "edge")]
pub mod sink;
pub mod tail;
pub mod tiles;
pub mod tlog_proof;
pub mod tree;
pub mod vault;
pub mod verify;
pub mod when;
mod work;
mod writer;

#[cfg(all(test, feature = "edge"))]
mod tests;

use std::path::{Path, PathBuf};

pub use entry::stamp as written;
pub use journal::{Journal, JournalSettings, MinFree, Status, Ticket, Unavailable};
pub use origin::Origin;

/// The log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process writes this log.
    #[error("{}: another gateway writes this audit log; give each its own --audit-dir", path.display())]
    Locked {
        /// The lock file it holds.
        path: PathBuf,
    },
    /// The origin cannot name a directory.
    #[error("`{0}` cannot name a log: use up to four parts of letters, digits, `.`, `-`, `_`, joined by `/`")]
    Origin(String),
    /// A record is not what was written.
    #[error(transparent)]
    Damaged(#[from] scan::Damage),
    /// The log on disk is not the one that was last signed here.
    #[error("the log is not the one that was last signed: {why}")]
    Forked {
        /// What tells.
        why: String,
        /// The checkpoint.
        note: String,
    },
    /// What is asked for is older than what is left.
    #[error("record {wanted} was pruned; the log begins with record {first}")]
    Pruned {
        /// Index of the first record that is left.
        first: u64,
        /// Index of the one asked for.
        wanted: u64,
    },
    /// The key that signs the log.
    #[error("the audit log's signing key: {0}")]
    Key(#[from] note::KeyError),
}

impl AuditError {
    /// Adds the path to an error of the operating system.
    pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> AuditError {
        let path = path.to_path_buf();
        move |source| AuditError::Io { path, source }
    }
}
