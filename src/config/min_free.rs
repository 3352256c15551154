//! How much of its disk the audit log leaves free.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// Free space the audit log keeps on its disk: the larger of a share and an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinFree {
    /// Percent of the file system, 0 to 99.
    pub percent: u8,
    /// Bytes.
    pub bytes: u64,
}

impl Default for MinFree {
    fn default() -> Self {
        Self { percent: 5, bytes: 1 << 30 }
    }
}

impl MinFree {
    /// The bytes to keep free on a file system of this size.
    pub fn on_disk_of(self, total_bytes: u64) -> u64 {
        let share = u128::from(total_bytes) * u128::from(self.percent) / 100;
        self.bytes.max(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// Reads `10%`, `2GiB`, `500MB` or a number of bytes.
    fn parse(text: &str) -> Option<Self> {
        if let Some(share) = text.strip_suffix('%') {
            let percent: u8 = share.trim().parse().ok()?;
            return (percent < 100).then_some(Self { percent, bytes: 0 });
        }
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let unit: u64 = match unit.trim() {
            "" | "B" => 1,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return None,
        };
        let bytes = number.parse::<u64>().ok()?.saturating_mul(unit);
        Some(Self { percent: 0, bytes })
    }
}

impl Serialize for MinFree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.percent, self.bytes) {
            (0, bytes) => serializer.serialize_u64(bytes),
            (percent, 0) => serializer.collect_str(&format_args!("{percent}%")),
            (percent, bytes) => serializer.collect_str(&format_args!("{percent}% and {bytes} bytes")),
        }
    }
}

impl<'de> Deserialize<'de> for MinFree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self { percent: 0, bytes }),
            Written::Text(text) => Self::parse(&text).ok_or_else(|| serde::de::Error::custom("neither bytes nor a percentage")),
        }
    }
}

impl JsonSchema for MinFree {
    fn schema_name() -> Cow<'static, str> {
        "MinFree".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Free space: `10%`, `2GiB`, `500MB` or a number of bytes.",
            "anyOf": [
                {
                    "description": "A share such as `10%`, or an amount such as `2GiB`.",
                    "type": "string",
                    "pattern": "^([0-9]{1,2} ?%|[0-9]{1,9} ?([KMGT]i?B|B)?)$",
                },
                { "type": "integer", "minimum": 0 },
            ],
        })
    }
}
