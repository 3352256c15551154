//! How far one sink is in one log, durably.
//!
//! It is written before a bundle leaves and says how far that bundle reaches: whatever happens then, the next try sends the very
//! same bundle under the same name, and the receiver recognises it. Two lines of text: `next 42`, and `sending 99` while the
//! bundle of entries 42 to 99 is under way.

use crate::audit::AuditError;
use crate::audit::origin::Origin;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bookmark {
    path: PathBuf,
    at: Place,
}

/// How far a sink is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the first entry that is not known to be delivered.
    pub next: u64,
    /// Index of the last entry of the bundle under way, which begins at `next`.
    pub sending: Option<u64>,
}

impl Bookmark {
    /// The bookmark of the sink `name` in the log of `origin` below `dir`; at the beginning when there is none.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn open(dir: &Path, origin: &Origin, name: &str) -> Result<Bookmark, AuditError> {
        let path = origin.below(dir).join("sinks").join(format!("{name}.cursor"));
        let at = match std::fs::read_to_string(&path) {
            Ok(text) => match Place::parse(&text) {
                Some(at) => at,
                None => {
                    let what = "it does not say how far the sink is; remove it and the sink itself is asked";
                    return Err(AuditError::at(&path)(io::Error::new(ErrorKind::InvalidData, what)));
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Place::default(),
            Err(error) => return Err(AuditError::at(&path)(error)),
        };
        Ok(Bookmark { path, at })
    }

    /// How far the sink is.
    pub fn at(&self) -> Place {
        self.at
    }

    /// Moves it, durably: when this returns, no crash brings the old place back.
    ///
    /// # Errors
    /// The file cannot be written. The place is then the old one.
    pub fn set(&mut self, at: Place) -> Result<(), AuditError> {
        if self.at != at {
            self.write(at).map_err(AuditError::at(&self.path))?;
            self.at = at;
        }
        Ok(())
    }

    fn write(&self, at: Place) -> io::Result<()> {
        let Some(home) = self.path.parent() else { return Err(ErrorKind::InvalidInput.into()) };
        if !home.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(home)?;
            if let Some(above) = home.parent() {
                File::open(above)?.sync_all()?;
            }
        }
        let tmp = self.path.with_extension("tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&tmp)?;
        file.write_all(at.text().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&tmp, &self.path)?;
        File::open(home)?.sync_all()
    }
}

impl Place {
    fn text(self) -> String {
        match self.sending {
            None => format!("next {}\n", self.next),
            Some(last) => format!("next {}\nsending {last}\n", self.next),
        }
    }

    fn parse(text: &str) -> Option<Place> {
        let mut lines = text.lines();
        let next = lines.next()?.strip_prefix("next ")?.parse().ok()?;
        let sending = lines.next().map(|line| line.strip_prefix("sending ")?.parse::<u64>().ok());
        let sending = match sending {
            None => None,
            Some(last) => Some(last.filter(|last| *last >= next)?),
        };
        lines.next().is_none().then_some(Place { next, sending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_outlives_the_process_and_nonsense_is_not_taken_for_one() {
        let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::parse("kt/test").unwrap());
        let mut mark = Bookmark::open(dir.path(), &origin, "archive").unwrap();
        assert_eq!(mark.at(), Place::default());
        for at in [Place { next: 0, sending: Some(9) }, Place { next: 10, sending: None }] {
            mark.set(at).unwrap();
            assert_eq!(Bookmark::open(dir.path(), &origin, "archive").unwrap(), mark);
        }
        for text in ["", "next", "next x\n", "next 5\nsending 4\n", "next 5\nsending\n", "next 5\nsending 6\nmore\n"] {
            std::fs::write(&mark.path, text).unwrap();
            assert!(Bookmark::open(dir.path(), &origin, "archive").is_err(), "{text}");
        }
    }
}
