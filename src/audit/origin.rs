//! The name of one log. A gateway process writes one log under one origin, so scaling out needs no consensus: every machine's
//! log is verified by itself, and its name is part of every record and of the first link.

use super::AuditError;
use std::fmt;
use std::path::{Path, PathBuf};

const LONGEST: usize = 255;
const MOST_PARTS: usize = 4;
/// Names the log itself uses inside an origin's directory.
const RESERVED: [&str; 10] = ["wal", "lock", "torn", "sealed", "checkpoints", "inbox", "holds", "sinks", "vault", "pruned"];

/// A name such as `kt/edge-7`: one to four parts of letters, digits, `.`, `-` and `_`. It is also a relative path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    /// Reads a name. Fails on anything that could not be a directory below another.
    pub fn parse(name: &str) -> Result<Origin, AuditError> {
        let parts: Vec<&str> = name.split('/').collect();
        if name.len() <= LONGEST && parts.len() <= MOST_PARTS && parts.iter().all(|part| is_part(part)) {
            Ok(Origin(name.to_string()))
        } else {
            Err(AuditError::Origin(name.to_string()))
        }
    }

    /// The default: `kt/<host name>`, with a `-` for every character that does not fit.
    pub fn of_this_host() -> Origin {
        Origin::of_host(&rustix::system::uname().nodename().to_string_lossy())
    }

    /// The name as written in records.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory of this log below the audit directory.
    pub fn below(&self, dir: &Path) -> PathBuf {
        dir.join(&self.0)
    }

    /// The log that takes over from this one: `kt/edge-7`, `kt/edge-7.e2`, `kt/edge-7.e3`, ... (see [`AuditError::Forked`]).
    pub fn next_epoch(&self) -> Origin {
        let (base, epoch) = match self.0.rsplit_once(".e") {
            Some((base, number)) => number.parse().map_or((self.as_str(), 1), |epoch: u32| (base, epoch)),
            None => (self.as_str(), 1),
        };
        Origin(format!("{base}.e{}", epoch.saturating_add(1)))
    }

    /// The newest epoch of this log below an audit directory.
    pub fn newest_epoch(self, dir: &Path) -> Origin {
        let mut newest = self;
        loop {
            let next = newest.next_epoch();
            if !next.below(dir).join("wal").is_dir() {
                return newest;
            }
            newest = next;
        }
    }

    /// Every log below an audit directory, sorted. Unreadable and foreign directories are passed over.
    pub fn all_below(dir: &Path) -> Vec<Origin> {
        let mut found = Vec::new();
        descend(dir, &mut Vec::new(), &mut found);
        found.sort();
        found
    }

    fn of_host(host: &str) -> Origin {
        let clean: String = host.chars().take(64).map(|c| if fits(c) { c } else { '-' }).collect();
        let clean = clean.trim_start_matches('.');
        Origin(format!("kt/{}", if is_part(clean) { clean } else { "localhost" }))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fits(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.chars().all(fits) && !RESERVED.contains(&part)
}

fn descend(dir: &Path, parts: &mut Vec<String>, found: &mut Vec<Origin>) {
    if dir.join("wal").is_dir()
        && let Ok(origin) = Origin::parse(&parts.join("/"))
    {
        found.push(origin);
    }
    if parts.len() == MOST_PARTS {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_part(&name) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            parts.push(name);
            descend(&entry.path(), parts, found);
            parts.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_leaves_the_directory_is_refused() {
        for name in ["", "/", "..", "kt/..", "kt//a", "/kt", "kt/", "kt/wal", "a/b/c/d/e", "kt/a b", "kt/.hidden"] {
            assert!(Origin::parse(name).is_err(), "{name}");
        }
        for name in ["kt/edge-7", "example.com", "a/b/c/d"] {
            assert!(Origin::parse(name).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_host_name_becomes_a_valid_origin(host in ".*") {
            let origin = Origin::of_host(&host);
            prop_assert!(Origin::parse(origin.as_str()).is_ok(), "{origin}");
        }
    }
}
