//! Several gateways of one host beside each other in one audit directory: each writes a log of its own.
//!
//! The first takes the host's origin, the next ones `-2`, `-3`, ...: a new version starts while the old one drains, and neither waits.

use super::{AuditError, Journal, JournalSettings, Origin};
use std::path::Path;

/// Gateways of one host that may share a directory.
const MOST: usize = 16;

/// Opens the first log of `base` that nobody writes, and ends the exchanges that gateways which are gone left open in the others.
///
/// # Errors
/// As [`Journal::open`]; `Locked` when all of them are being written.
pub fn open(dir: &Path, base: &Origin, settings: &JournalSettings) -> Result<Journal, AuditError> {
    let names = (1..=MOST).map(|n| if n == 1 { base.to_string() } else { format!("{base}-{n}") });
    let mut taken = None;
    let mut others = names.clone();
    for name in names {
        others.next();
        match Journal::open(dir, &name, settings.clone()) {
            Err(locked @ AuditError::Locked { .. }) => taken = Some(locked),
            Err(error) => return Err(error),
            Ok(journal) => {
                others.for_each(|other| write_off(dir, &other, settings));
                return Ok(journal);
            }
        }
    }
    Err(taken.unwrap_or_else(|| AuditError::Origin(base.to_string())))
}

/// Opening a log recovers it. One that is being written, or damaged, is left to its owner and to `kt audit verify`.
fn write_off(dir: &Path, name: &str, settings: &JournalSettings) {
    let exists = Origin::parse(name).is_ok_and(|origin| origin.below(dir).is_dir());
    if !exists {
        return;
    }
    match Journal::open(dir, name, settings.clone()) {
        Ok(journal) => journal.close(),
        Err(AuditError::Locked { .. }) => {}
        Err(error) => log::error!("the audit log {name} cannot be recovered: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::journal::MinFree;

    #[test]
    fn a_second_gateway_of_the_host_writes_a_log_of_its_own_and_the_first_name_is_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let settings = JournalSettings {
            segment_bytes: crate::audit::segment::MIN_SEGMENT,
            min_free: MinFree { bytes: 0, percent: 0.0 },
            ..JournalSettings::default()
        };
        let base = Origin::parse("kt/host").unwrap();
        let logs = || Origin::all_below(dir.path()).iter().map(ToString::to_string).collect::<Vec<_>>();
        let first = open(dir.path(), &base, &settings).unwrap();
        let second = open(dir.path(), &base, &settings).unwrap();
        assert_eq!(logs(), ["kt/host", "kt/host-2"]);
        first.close();
        second.close();
        open(dir.path(), &base, &settings).unwrap().close();
        assert_eq!(logs(), ["kt/host", "kt/host-2"]);
    }
}
