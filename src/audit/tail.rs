//! Reads the newest records of a log, and those that come after them, while a gateway may be writing.

use super::AuditError;
use super::origin::Origin;
use super::segment::{self, Frame, Reader};
use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A place at the end of one log that moves on with it.
pub struct Follower {
    wal: PathBuf,
    open: Option<Open>,
    /// Index of the next record to tell.
    next: u64,
}

/// The segment being read.
struct Open {
    inode: u64,
    reader: Reader,
    /// Index of the reader's next record.
    index: u64,
}

impl Follower {
    /// Goes to the end of a log and returns its newest records, at most `lines`, oldest first, as they are in the log.
    pub fn new(dir: &Path, origin: &Origin, lines: usize) -> Result<(Follower, Vec<Vec<u8>>), AuditError> {
        let wal = origin.below(dir).join("wal");
        let segments = segment::list(&wal).map_err(AuditError::at(&wal))?;
        // Only so far back as the names of the segments say that enough records follow.
        let end = segments.last().map_or(0, |(first, _)| *first);
        let back = segments.iter().rposition(|(first, _)| end - first >= lines as u64).unwrap_or(0);
        let start = segments.get(back).map_or(0, |(first, _)| *first);
        let mut follower = Follower { wal, open: None, next: start };
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

    /// Reads on as far as whole records go; what is not one yet is looked at again next time.
    fn read(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<(), AuditError> {
        loop {
            let opened = self.reopen()?;
            let Some(Open { reader, index, .. }) = &mut self.open else { return Ok(()) };
            reader.refresh();
            let before = *index;
            while let Frame::Whole { .. } = reader.advance().map_err(AuditError::at(&self.wal))? {
                if *index == self.next {
                    each(reader.entry());
                    self.next += 1;
                }
                *index += 1;
            }
            if !opened && before == *index {
                return Ok(());
            }
        }
    }

    /// Opens the segment that holds the next record, unless it is open. After a failed sync a new one takes over from records
    /// already told, perhaps even under the name of the old one, so neither name nor place alone would do.
    fn reopen(&mut self) -> Result<bool, AuditError> {
        let io = || AuditError::at(&self.wal);
        let segments = segment::list(&self.wal).map_err(io())?;
        let Some((first, path)) = segments.into_iter().rfind(|(first, _)| *first <= self.next) else { return Ok(false) };
        let inode = std::fs::metadata(&path).map_err(io())?.ino();
        if self.open.as_ref().is_some_and(|open| open.inode == inode) {
            return Ok(false);
        }
        let Ok((reader, _)) = Reader::open(&path).map_err(io())? else { return Ok(false) };
        self.open = Some(Open { inode, reader, index: first });
        Ok(true)
    }
}
