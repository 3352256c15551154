//! `kt schema`: the JSON Schema of a configuration, for completion and checks in editors.

use crate::config;
use std::io::Write;

/// Prints the schema and returns the exit code: 0, or 1 when it could not be written.
pub fn schema(out: &mut dyn Write) -> i32 {
    let written = writeln!(out, "{:#}", config::json_schema()).and_then(|()| out.flush());
    i32::from(written.is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_draft_2020_12_and_describes_every_top_level_key() {
        let mut out = Vec::new();
        assert_eq!(schema(&mut out), 0);
        let schema: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        for key in ["pack", "policies", "policy", "providers", "size_limits"] {
            assert!(schema["properties"][key]["description"].is_string(), "{key}");
        }
    }
}
