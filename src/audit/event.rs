//! What the audit log says of the gateway itself: its starts and stops, its configs, the callers it turned away.

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
        }
    }
}

fn arc<T: Serialize, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}
