//! Reads the entries of one log by index, in order, while a gateway may be writing: what `kt audit tail` and the sinks have in common.

use super::AuditError;
use super::layout::{self, Layout};
use super::origin::Origin;
use super::sealed::Sealed;
use super::sealed::entries::{Reader as Entries, first_of, run_of};
use super::sealed::index::Index;
use super::segment::{Frame, Reader};
use std::io;
use std::path::{Path, PathBuf};

/// A place in one log that moves on as it is read.
///
/// Nothing is promised of what a power cut would leave: whoever may only act on durable entries bounds the reading by
/// [`Status::durable_index`](super::journal::Status::durable_index), taken before.
pub struct Cursor {
    home: PathBuf,
    /// Index of the next entry to tell.
    next: u64,
    open: Option<Open>,
}

/// What a reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Every entry there is below the bound was told.
    End,
    /// The next entry would have gone beyond the bytes asked for.
    Full,
}

/// Why entries cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The entry that comes next is no longer kept.
    #[error("entries before {first} are no longer kept")]
    Pruned {
        /// The first that is.
        first: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] AuditError),
}

impl Cursor {
    /// A place before the entry with index `from` of the log of `origin` below `dir`. Neither need exist yet.
    pub fn open(dir: &Path, origin: &Origin, from: u64) -> Cursor {
        Cursor { home: origin.below(dir), next: from, open: None }
    }

    /// Index of the entry that [`Cursor::read`] tells next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Goes on from a later entry: the first one kept, after [`ReadError::Pruned`].
    pub fn skip_to(&mut self, index: u64) {
        self.next = self.next.max(index);
    }

    /// Tells each entry below index `below` with its index, in order, until they amount to `max_bytes`; one at least, however
    /// long. What is not a whole entry yet is looked at again by the next call.
    ///
    /// # Errors
    /// `Pruned` when the next entry is gone, `Log` when a file cannot be read. What was told before an error stays told.
    pub fn read(&mut self, below: u64, max_bytes: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<Stop, ReadError> {
        let mut told = 0;
        while self.next < below {
            let Some(until) = self.reach()? else { return Ok(Stop::End) };
            let before = self.next;
            let stop = self.read_segment(below.min(until), max_bytes, &mut told, each)?;
            // Within one segment nothing more comes: only another one that has taken over can go on.
            if stop == Stop::Full || (self.next < until && self.next == before) {
                return Ok(stop);
            }
        }
        Ok(Stop::End)
    }

    /// Reads on in the open segment as far as whole entries go.
    fn read_segment(
        &mut self,
        below: u64,
        max_bytes: usize,
        told: &mut usize,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Stop, ReadError> {
        let next = &mut self.next;
        let mut tell = |index: u64, entry: &[u8]| {
            if index != *next || index >= below {
                return index < below;
            }
            let fits = *told == 0 || *told + entry.len() <= max_bytes;
            if fits {
                *told += entry.len();
                each(index, entry);
                *next += 1;
            }
            fits
        };
        let full = match &mut self.open {
            None => false,
            Some(Open::Wal(open)) => open.read(&mut tell).map_err(AuditError::at(&self.home))?,
            Some(Open::Sealed(open)) => open.read(&mut tell).map_err(AuditError::at(&self.home))?,
        };
        Ok(if full && self.next < below { Stop::Full } else { Stop::End })
    }

    /// Opens the segment that holds the next entry, unless it is open, and returns the index at which another one takes over;
    /// `None` when there is no such segment yet.
    fn reach(&mut self) -> Result<Option<u64>, ReadError> {
        if let Some(Open::Sealed(open)) = &self.open
            && (open.segment.first..=open.segment.last).contains(&self.next)
        {
            return Ok(Some(open.segment.last + 1));
        }
        let io = || AuditError::at(&self.home);
        let layout = layout::look(&self.home)?;
        if let Some(first) = layout.first().filter(|first| *first > self.next) {
            return Err(ReadError::Pruned { first });
        }
        let Layout { sealed, wal } = layout;
        if let Some(segment) = sealed.into_iter().find(|segment| segment.last >= self.next) {
            let until = segment.last + 1;
            self.open = Some(Open::Sealed(OpenSealed::new(segment, self.next).map_err(io())?));
            return Ok(Some(until));
        }
        // After a failed sync a segment takes over from entries already told, perhaps even under the name of the old one: the last
        // one that begins early enough is right, and its inode tells it apart.
        let after = wal.partition_point(|open| open.first <= self.next);
        let until = wal.get(after).map_or(u64::MAX, |open| open.first);
        let Some(layout::Open { first, segment: Ok((reader, _)), .. }) = wal.into_iter().take(after).next_back() else {
            return Ok(None);
        };
        let inode = reader.inode().map_err(io())?;
        if !matches!(&self.open, Some(Open::Wal(open)) if open.inode == inode) {
            self.open = Some(Open::Wal(OpenWal { inode, reader, index: first, held: false }));
        }
        Ok(Some(until))
    }
}

/// The segment being read.
enum Open {
    Wal(OpenWal),
    Sealed(OpenSealed),
}

struct OpenWal {
    inode: u64,
    reader: Reader,
    /// Index of the entry the reader holds, or reads next.
    index: u64,
    /// Whether the reader holds an entry that was not told yet.
    held: bool,
}

impl OpenWal {
    /// Tells entries until `tell` has enough (true) or there is no whole one (false).
    fn read(&mut self, tell: &mut dyn FnMut(u64, &[u8]) -> bool) -> io::Result<bool> {
        self.reader.refresh();
        loop {
            if !self.held && !matches!(self.reader.advance()?, Frame::Whole { .. }) {
                return Ok(false);
            }
            self.held = true;
            if !tell(self.index, self.reader.entry()) {
                return Ok(true);
            }
            self.held = false;
            self.index += 1;
        }
    }
}

struct OpenSealed {
    segment: Sealed,
    index: Index,
    entries: Entries,
    /// The run to be read next.
    run: usize,
}

impl OpenSealed {
    fn new(segment: Sealed, next: u64) -> io::Result<OpenSealed> {
        let (index, entries) = (Index::read(&segment)?, Entries::open(&segment)?);
        Ok(OpenSealed { run: run_of(segment.first, next), index, entries, segment })
    }

    /// Tells entries until `tell` has enough (true) or the segment ends (false).
    fn read(&mut self, tell: &mut dyn FnMut(u64, &[u8]) -> bool) -> io::Result<bool> {
        while let Some(run) = self.index.runs.get(self.run) {
            let first = first_of(self.segment.first, self.run);
            for (index, entry) in (first..).zip(self.entries.run(run.place)?) {
                if !tell(index, entry) {
                    return Ok(true);
                }
            }
            self.run += 1;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{merkle::Frontier, segment};
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    /// A log of segments that begin at these indexes, each entry its own index in text, `void` more of them behind each end.
    fn log(firsts: &[u64], end: u64, void: u64) -> (tempfile::TempDir, Origin) {
        let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::parse("kt/test").unwrap());
        let wal = origin.below(dir.path()).join("wal");
        std::fs::create_dir_all(&wal).unwrap();
        for (n, first) in firsts.iter().enumerate() {
            let until = firsts.get(n + 1).map_or(end, |next| next + void);
            let mut before = Frontier::new();
            (0..*first).for_each(|_| before.push([0; 32]));
            let header = segment::Header { origin: origin.to_string(), before };
            let mut bytes = header.encode().to_vec();
            for index in *first..until {
                segment::put_frame(&mut bytes, &[0; 32], &entry(index));
            }
            bytes.resize(bytes.len() + 1024, 0);
            std::fs::write(segment::path(&wal, *first), bytes).unwrap();
        }
        (dir, origin)
    }

    fn entry(index: u64) -> Vec<u8> {
        format!("{{\"n\":{index}}}").repeat(1 + index as usize % 5).into_bytes()
    }

    fn told(cursor: &mut Cursor, below: u64, max_bytes: usize) -> (Vec<u64>, Stop) {
        let mut told = Vec::new();
        let stop = cursor.read(below, max_bytes, &mut |index, bytes| {
            assert_eq!(bytes, entry(index));
            told.push(index);
        });
        (told, stop.unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_entry_is_told_once_and_in_order_however_it_is_cut(
            sizes in prop::collection::vec(1u64..9, 1..6), from in 0u64..12, void in 0u64..3,
            steps in prop::collection::vec((0u64..9, 1usize..120), 1..30),
        ) {
            let firsts: Vec<u64> = sizes.iter().scan(0, |at, size| { let first = *at; *at += size; Some(first) }).collect();
            let end: u64 = sizes.iter().sum();
            let (dir, origin) = log(&firsts, end, void);
            let mut cursor = Cursor::open(dir.path(), &origin, from);
            let (mut all, mut below) = (Vec::new(), 0);
            for (more, max_bytes) in steps {
                below += more;
                let (some, stop) = told(&mut cursor, below, max_bytes);
                let bytes: usize = some.iter().map(|index| entry(*index).len()).sum();
                prop_assert!(bytes <= max_bytes || some.len() == 1);
                prop_assert!(stop == Stop::Full || cursor.next() >= below.min(end));
                all.extend(some);
            }
            all.extend(told(&mut cursor, u64::MAX, usize::MAX).0);
            prop_assert_eq!(all, (from..end).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_entry_that_is_gone_is_an_error_that_names_the_first_one_kept() {
        let (dir, origin) = log(&[40, 50], 60, 0);
        let mut cursor = Cursor::open(dir.path(), &origin, 7);
        assert!(matches!(cursor.read(60, 100, &mut |_, _| ()), Err(ReadError::Pruned { first: 40 })));
    }

    #[test]
    fn a_segment_that_takes_over_under_the_same_name_is_read_instead() {
        let (dir, origin) = log(&[0], 3, 0);
        let mut cursor = Cursor::open(dir.path(), &origin, 0);
        assert_eq!(told(&mut cursor, u64::MAX, usize::MAX).0, [0, 1, 2]);
        let (other, _) = log(&[0], 5, 0);
        let (from, to) = (origin.below(other.path()).join("wal"), origin.below(dir.path()).join("wal"));
        std::fs::rename(segment::path(&from, 0), segment::path(&to, 0)).unwrap();
        assert_eq!(told(&mut cursor, u64::MAX, usize::MAX).0, [3, 4]);
    }

    #[test]
    fn half_an_entry_is_told_once_it_is_whole() {
        let (dir, origin) = log(&[0], 2, 0);
        let path = segment::path(&origin.below(dir.path()).join("wal"), 0);
        let file = File::options().write(true).open(&path).unwrap();
        let at = std::fs::metadata(&path).unwrap().len() - 1024;
        let mut frame = Vec::new();
        segment::put_frame(&mut frame, &[0; 32], &entry(2));
        let mut cursor = Cursor::open(dir.path(), &origin, 0);
        file.write_all_at(&frame[..frame.len() / 2], at).unwrap();
        assert_eq!(told(&mut cursor, u64::MAX, usize::MAX).0, [0, 1]);
        file.write_all_at(&frame, at).unwrap();
        assert_eq!(told(&mut cursor, u64::MAX, usize::MAX).0, [2]);
    }
}
