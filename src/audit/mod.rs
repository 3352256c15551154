//! The audit log: two records an exchange, append-only, hash-linked, durable.

pub mod journal;
pub mod record;

/// The log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file operation failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
