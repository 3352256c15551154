//! `kt audit`: what people ask of the log. Every command reads files only and needs no running gateway; all work beside one that
//! is writing. Where the log wants to know who reads it (`log_all_access`), each look is recorded before anything is shown.

mod access;
pub mod export;
pub mod hold;
mod output;
mod progress;
pub mod prove;
pub mod query;
mod select;
mod table;
pub mod tail;
pub mod verify;

pub use access::Caller;

use super::AuditDir;
use crate::audit::AuditError;
use crate::audit::note::Verifier;
use crate::audit::origin::Origin;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

/// All is as it should be.
const INTACT: i32 = 0;
/// A log is damaged, or a proof wrong.
const DAMAGED: i32 = 1;
/// The question makes no sense, or cannot be answered.
const USAGE: i32 = 2;

/// Which logs.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    #[command(flatten)]
    dir: AuditDir,
    /// Only this log, such as kt/edge-7 [default: every log below the directory]
    #[arg(long, value_name = "NAME", value_parser = origin)]
    origin: Option<Origin>,
}

impl Place {
    /// The logs that are meant.
    fn logs(&self, err: &mut dyn Write) -> Result<Logs, i32> {
        let dir = self.dir.path();
        let mut origins = Origin::all_below(&dir);
        if let Some(wanted) = &self.origin {
            if !origins.contains(wanted) {
                let all: Vec<&str> = origins.iter().map(Origin::as_str).collect();
                let there = if all.is_empty() { "there is none".into() } else { format!("there are {}", all.join(", ")) };
                return Err(refuse(err, format_args!("no audit log {wanted} below {}; {there}", dir.display())));
            }
            origins.retain(|origin| origin == wanted);
        }
        if origins.is_empty() {
            return Err(refuse(err, format_args!("no audit log below {}; name its directory with --audit-dir", dir.display())));
        }
        Ok(Logs { dir, origins })
    }
}

/// The logs a command is about: one at least.
struct Logs {
    dir: PathBuf,
    origins: Vec<Origin>,
}

impl Logs {
    /// The one log, where a command can be about one only.
    fn only(&self, err: &mut dyn Write) -> Result<&Origin, i32> {
        match &self.origins[..] {
            [only] => Ok(only),
            several => {
                let all: Vec<&str> = several.iter().map(Origin::as_str).collect();
                Err(refuse(err, format_args!("there are several logs; choose one with --origin: {}", all.join(", "))))
            }
        }
    }
}

fn origin(name: &str) -> Result<Origin, AuditError> {
    Origin::parse(name)
}

/// The keys of `--key`: one as it is written, or a file with one a line.
fn keys(given: &str) -> Result<Vec<Verifier>, String> {
    if let Ok(key) = Verifier::parse(given) {
        return Ok(vec![key]);
    }
    let text = std::fs::read_to_string(Path::new(given))
        .map_err(|error| format!("{given}: neither a verifier key (name+hash+base64) nor a file with one: {error}"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<Verifier> =
        lines.map(|line| Verifier::parse(line).map_err(|why| format!("{given}: {why}"))).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(format!("{given}: the file is empty")) } else { Ok(keys) }
}

/// Says why not.
fn refuse(err: &mut dyn Write, why: impl Display) -> i32 {
    let _ = writeln!(err, "{why}");
    USAGE
}

/// Says why a log cannot be read, and whether that is damage.
fn unreadable(err: &mut dyn Write, error: &AuditError) -> i32 {
    match error {
        AuditError::Damaged(_) => {
            let _ = writeln!(err, "{error}\n`kt audit verify` says what else");
            DAMAGED
        }
        other => refuse(err, other),
    }
}

#[cfg(test)]
mod tests;
