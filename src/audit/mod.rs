//! The audit log: two records an exchange, append-only, hash-linked, durable.
//!
//! # The way of a record
//!
//! ```text
//! request task    Ticket -> entry (JSON, at most 65,535 bytes) -> leaf hash      entry, journal
//!              -> queue: takes the next index, bounded in bytes                  queue
//! audit-frame     link = SHA-256(0x01 || previous link || leaf), frame, write    writer
//! audit-sync      fdatasync of all that was written meanwhile, one for many      writer
//!              -> queue: releases every waiter below the durable index
//! audit-clock     releases the waiters whose time is over                        queue
//! ```
//!
//! # On disk
//!
//! `<dir>/<origin>/wal/<first index>.wal` holds the records, `<dir>/<origin>/lock` keeps a second gateway out, and
//! `<dir>/<origin>/torn/` keeps what recovery cut off. See [`segment`] for the bytes.
//!
//! # What it proves, and what not
//!
//! Whoever changes, drops, inserts or reorders a record breaks a link, and `kt audit verify` names the first index at fault.
//! There is no secret in the links: someone who may write the files can cut the end off, or rewrite everything from some record
//! on. Against that only a copy of a later link kept elsewhere helps.

pub mod beside;
mod entry;
mod event;
pub mod journal;
pub mod merkle;
pub mod note;
pub mod origin;
mod queue;
pub mod record;
mod recover;
pub mod scan;
pub mod segment;
pub mod tail;
pub mod tiles;
pub mod tlog_proof;
mod writer;

#[cfg(all(test, feature = "edge"))]
mod tests;

use std::path::{Path, PathBuf};

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
}

impl AuditError {
    /// Adds the path to an error of the operating system.
    pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> AuditError {
        let path = path.to_path_buf();
        move |source| AuditError::Io { path, source }
    }
}
