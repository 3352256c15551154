//! Legal holds: spans of time whose records are kept, however old they get, until the hold is lifted.
//!
//! A hold is a file, `holds/<name>.json`, made and removed by `kt audit hold`; the gateway need not run. Both are recorded in the
//! log by whoever writes it ([`super::inbox`]).

use super::AuditError;
use super::sealed::{Durable, hand_over};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// One legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Its name: letters, digits, `.`, `-`, `_`.
    pub name: String,
    /// Why, for people.
    pub reason: String,
    /// The first moment it covers, as records write times; from the beginning without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The last moment it covers; without one it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Hold {
    /// Whether it covers any moment between two.
    pub fn covers(&self, from: &str, to: &str) -> bool {
        self.from.as_deref().is_none_or(|begin| begin <= to) && self.to.as_deref().is_none_or(|end| end >= from)
    }
}

/// The holds on a log; `home` is the directory of its origin.
///
/// # Errors
/// Those of the file system, and `InvalidData` for a file that is not a hold: it may be one that matters.
pub fn list(home: &Path) -> Result<Vec<Hold>, AuditError> {
    let folder = home.join("holds");
    let listing = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(AuditError::at(&folder))?,
    };
    let mut holds = Vec::new();
    for file in listing {
        let path = file.map_err(AuditError::at(&folder))?.path();
        if path.extension().is_some_and(|kind| kind == "json") {
            let bytes = std::fs::read(&path).map_err(AuditError::at(&path))?;
            holds.push(serde_json::from_slice::<Hold>(&bytes).map_err(io::Error::from).map_err(AuditError::at(&path))?);
        }
    }
    holds.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(holds)
}

/// Puts a hold on a log, durably; one of the same name is replaced.
///
/// # Errors
/// Those of the file system.
pub fn put(home: &Path, hold: &Hold) -> Result<(), AuditError> {
    let path = path(home, &hold.name);
    let work = || -> io::Result<()> {
        let folder = home.join("holds");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        hand_over(&File::open(&folder)?, home)?;
        let mut file = Durable::create(path.clone())?;
        serde_json::to_writer_pretty(&mut file, hold)?;
        file.write_all(b"\n")?;
        file.finish()
    };
    work().map_err(AuditError::at(&path))
}

/// Lifts a hold. False when there was none of that name.
///
/// # Errors
/// Those of the file system.
pub fn lift(home: &Path, name: &str) -> Result<bool, AuditError> {
    let path = path(home, name);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(AuditError::at(&path)(error)),
    }
}

/// Whether a hold can have this name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn path(home: &Path, name: &str) -> PathBuf {
    home.join("holds").join(format!("{name}.json"))
}
