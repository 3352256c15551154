//! Where a secret is, and the secret itself: a value that can be used but not shown.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

/// Where a secret is. The configuration never holds the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file whose whole content, one trailing newline apart, is the secret.
    File(PathBuf),
}

/// Largest file taken for a secret, in bytes.
const FILE_LIMIT: u64 = 64 << 10;

impl SecretRef {
    /// Fetches the secret; `env` looks up a variable. It is one line: fit for a header.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        let secret = self.resolve_lines(env)?;
        if secret.0.chars().any(char::is_control) { Err(SecretError::Control(self.to_string())) } else { Ok(secret) }
    }

    /// The same for one of several lines, as credentials files are.
    pub fn resolve_lines(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        let value = match self {
            SecretRef::Env(name) => env(name).ok_or_else(|| SecretError::Missing(name.clone()))?,
            SecretRef::File(path) => {
                let unreadable = |error: std::io::Error| SecretError::Unreadable(path.clone(), error.kind());
                let mut value = String::new();
                let mut file = std::fs::File::open(path).map_err(unreadable)?.take(FILE_LIMIT + 1);
                file.read_to_string(&mut value).map_err(unreadable)?;
                if value.len() as u64 > FILE_LIMIT {
                    return Err(SecretError::TooLarge(path.clone()));
                }
                let trimmed = value.strip_suffix('\n').map_or(value.len(), |v| v.strip_suffix('\r').unwrap_or(v).len());
                value.truncate(trimmed);
                value
            }
        };
        if value.trim().is_empty() { Err(SecretError::Empty(self.to_string())) } else { Ok(Secret(value)) }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "environment variable {name}"),
            SecretRef::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            env: Option<String>,
            file: Option<PathBuf>,
        }
        match Written::deserialize(deserializer)? {
            Written { env: Some(name), file: None } => Ok(SecretRef::Env(name)),
            Written { env: None, file: Some(path) } => Ok(SecretRef::File(path)),
            _ => Err(serde::de::Error::custom("exactly one of `env` and `file`")),
        }
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a secret is: exactly one of an environment variable and a file.",
            "type": "object",
            "properties": {
                "env": {
                    "description": "The name of an environment variable.",
                    "type": "string",
                    "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
                    "x-variable": true,
                },
                "file": { "description": "The path of a file that holds the secret alone.", "type": "string", "minLength": 1 },
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
            "x-secret": true,
        })
    }
}

/// A secret: usable through [`Secret::expose`], shown as `***`, overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value that is already known to be a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // Best effort: `black_box` keeps the compiler from dropping a write nobody reads. Copies made earlier are not reached.
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
}

/// Why a secret could not be had. Names the place, never the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("environment variable {0} is not set")]
    Missing(String),
    /// The variable or file holds nothing.
    #[error("{0} is empty")]
    Empty(String),
    /// The value cannot stand in a header.
    #[error("{0} holds a line break or another control character")]
    Control(String),
    /// The file cannot be read.
    #[error("file {} cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, std::io::ErrorKind),
    /// The file is no secret.
    #[error("file {} is larger than 64 KiB", .0.display())]
    TooLarge(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(content: &[u8]) -> Result<Secret, SecretError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, content).unwrap();
        SecretRef::File(path).resolve(&|_| None)
    }

    #[test]
    fn a_secret_is_usable_and_never_shown() {
        let secret = SecretRef::Env("KEY".into()).resolve(&|name| (name == "KEY").then(|| "s3cret".to_owned())).unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    }

    #[test]
    fn a_missing_or_empty_variable_is_an_error_that_names_it() {
        let key = SecretRef::Env("KEY".into());
        assert_eq!(key.resolve(&|_| None).unwrap_err().to_string(), "environment variable KEY is not set");
        assert_eq!(key.resolve(&|_| Some(" ".into())).unwrap_err().to_string(), "environment variable KEY is empty");
    }

    #[test]
    fn a_file_loses_one_newline_at_its_end_and_nothing_else() {
        for (content, secret) in [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), (" a b ", " a b ")] {
            assert_eq!(from_file(content.as_bytes()).unwrap().expose(), secret);
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_without_being_shown() {
        for content in [&b"abc\n\n"[..], b"abc\ndef", b"", b"\n", b"a\0b", b"\xff\xfe", &[b'a'; 70_000]] {
            let error = from_file(content).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("abc"), "{error}");
        }
        assert!(matches!(SecretRef::File("/nowhere/key".into()).resolve(&|_| None), Err(SecretError::Unreadable(..))));
    }

    #[test]
    fn a_reference_is_exactly_one_of_env_and_file() {
        let read = |text| serde_yaml::from_str::<SecretRef>(text).ok();
        assert_eq!(read("{env: A}"), Some(SecretRef::Env("A".into())));
        assert_eq!(read("{file: /a}"), Some(SecretRef::File("/a".into())));
        for text in ["{}", "{env: A, file: /a}", "A", "{vault: a}", "[A]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
