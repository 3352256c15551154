//! What the audit log says of the gateway itself: its starts and stops, its configs, the callers it turned away.

use super::inbox::{Access, Erasure};
use super::record::{About, ConfigStamp, Word};
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Something of the gateway's own life, recorded beside the exchanges.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// `gateway.start`
    GatewayStart {
        /// The config it starts with.
        #[serde(flatten, serialize_with = "arc")]
        config: Arc<ConfigStamp>,
        /// Addresses it listens on.
        listen: Vec<String>,
    },
    /// `gateway.stop`
    GatewayStop {
        /// `signal`, `error`, ...
        reason: Word,
    },
    /// `config.loaded`
    ConfigLoaded {
        /// The config now in force.
        #[serde(flatten, serialize_with = "arc")]
        config: Arc<ConfigStamp>,
    },
    /// `config.rejected`: the one before stays in force.
    ConfigRejected {
        /// SHA-256 of the refused file, in hex.
        config_sha256: String,
        /// How many errors it had.
        errors: usize,
        /// The first of them.
        first: String,
    },
    /// `auth.failure`
    AuthFailure {
        /// Who and what.
        #[serde(flatten)]
        about: Box<About>,
        /// Why: `unknown_key`, `address_not_allowed`, ...
        reason_code: Word,
        /// The status the caller got.
        http_status: u16,
    },
    /// `http.request`: a request that was not for a model, answered or refused here. Only with `log_all_access`.
    HttpRequest {
        /// Who and what.
        #[serde(flatten)]
        about: Box<About>,
        /// Its method.
        #[serde(rename = "http.request.method")]
        method: String,
        /// The status the caller got; none when it left first.
        #[serde(skip_serializing_if = "Option::is_none")]
        http_status: Option<u16>,
    },
    /// `audit.read`, `audit.export`, `audit.verify`, `audit.hold`: somebody did something with the log itself.
    Access(Access),
    /// `audit.erased`: salts, and bodies, of an exchange were erased from the vault; its records can be opened no more.
    Erased(Erasure),
    /// `audit.pruned`: segments whose time is over are about to be deleted.
    Pruned {
        /// What says so.
        by: Word,
        /// Index of the first record that is left then.
        new_minimum: u64,
        /// What goes, oldest first.
        segments: Vec<PrunedSegment>,
    },
    /// `audit.epoch`: the first record of a log that takes over from one that cannot be continued.
    Epoch {
        /// The log before.
        previous: String,
        /// Why it cannot be continued.
        reason: String,
        /// Its last signed checkpoint.
        checkpoint: String,
    },
}

/// A sealed segment that is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedSegment {
    /// Index of its first record.
    pub first: u64,
    /// Index of its last record.
    pub last: u64,
    /// SHA-256 of the file with its records, in hex.
    pub sha256: String,
}

impl Event {
    /// The record type.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::GatewayStart { .. } => "gateway.start",
            Event::GatewayStop { .. } => "gateway.stop",
            Event::ConfigLoaded { .. } => "config.loaded",
            Event::ConfigRejected { .. } => "config.rejected",
            Event::AuthFailure { .. } => "auth.failure",
            Event::HttpRequest { .. } => "http.request",
            Event::Access(access) => access.action.kind(),
            Event::Erased(_) => "audit.erased",
            Event::Pruned { .. } => "audit.pruned",
            Event::Epoch { .. } => "audit.epoch",
        }
    }
}

fn arc<T: Serialize, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}
