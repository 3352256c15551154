//! Reads the newest records of a log, and those that come after them, while a gateway may be writing.

use super::AuditError;
use super::layout::{self, Layout};
use super::origin::Origin;
use super::read::{Cursor, ReadError};
use std::collections::VecDeque;
use std::path::Path;

/// A place at the end of one log that moves on with it.
pub struct Follower(Cursor);

impl Follower {
    /// Goes to the end of a log and returns its newest records, at most `lines`, oldest first, as they are in the log.
    pub fn new(dir: &Path, origin: &Origin, lines: usize) -> Result<(Follower, Vec<Vec<u8>>), AuditError> {
        let Layout { sealed, wal } = layout::look(&origin.below(dir))?;
        // Only so far back as the names of the segments say that enough records follow.
        let firsts: Vec<u64> = sealed.iter().map(|s| s.first).chain(wal.iter().map(|s| s.first)).collect();
        let end = firsts.last().copied().unwrap_or(0);
        let start = firsts.iter().rfind(|first| end - **first >= lines as u64).or(firsts.first()).copied().unwrap_or(0);
        let mut follower = Follower(Cursor::open(dir, origin, start));
        let mut newest = VecDeque::new();
        follower.read(&mut |entry| {
            if newest.len() == lines {
                newest.pop_front();
            }
            if lines > 0 {
                newest.push_back(entry.to_vec());
            }
        })?;
        Ok((follower, newest.into()))
    }

    /// The records that were added since.
    pub fn news(&mut self) -> Result<Vec<Vec<u8>>, AuditError> {
        let mut news = Vec::new();
        self.read(&mut |entry| news.push(entry.to_vec()))?;
        Ok(news)
    }

    fn read(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<(), AuditError> {
        loop {
            match self.0.read(u64::MAX, usize::MAX, &mut |_, entry| each(entry)) {
                Ok(_) => return Ok(()),
                // Old segments went while nobody looked: what is left is still the newest.
                Err(ReadError::Pruned { first }) => self.0.skip_to(first),
                Err(ReadError::Log(error)) => return Err(error),
            }
        }
    }
}
