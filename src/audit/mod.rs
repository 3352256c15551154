//! The audit log: two records an exchange, append-only, hash-linked, durable.

pub mod journal;
pub mod record;
