//! Whom the audit log encrypts bodies to.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A public key of age, as `age-keygen` prints it. One in a configuration that loaded is a key: its checksum fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipient(String);

impl Recipient {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key; `None` where the checksum does not fit.
    pub fn key(&self) -> Option<age::x25519::Recipient> {
        self.0.parse().ok()
    }
}

impl JsonSchema for Recipient {
    fn schema_name() -> Cow<'static, str> {
        "Recipient".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A public key of age: `age1` and 58 more characters, as `age-keygen` prints it.",
            "type": "string",
            "pattern": "^age1[02-9ac-hj-np-z]{58}$",
        })
    }
}
