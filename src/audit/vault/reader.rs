//! Finds what was deposited, and erases it: for `kt audit open` and `kt audit erase`, beside a gateway that goes on writing.

use super::super::AuditError;
use super::super::commitment::{SALT, Salt};
use super::file::{self, HEAD, HEADER, Head, Header};
use super::{Form, Salts};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// How far a clock may have been set back between an id and the file it is looked for in, in milliseconds.
const SKEW: u64 = 3_600_000;

/// What was deposited with one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Index of the record it belongs to.
    pub index: u64,
    /// The id of that record.
    pub record: Uuid,
    /// The exchange: the id of its first record.
    pub exchange: Uuid,
    /// In which form its bodies are.
    pub form: Form,
    /// Nothing more was deposited for this exchange.
    pub last: bool,
    head: Head,
    path: PathBuf,
    /// Where its salts begin.
    at: u64,
}

/// What is to be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Erase {
    /// The salts: nobody can prove any more which bodies the records speak of.
    Salts,
    /// Those and the bodies.
    All,
}

/// Finds what was deposited for the exchange that a record belongs to, oldest first; `home` is the directory of the origin. Empty when
/// nothing was, or when it was pruned.
///
/// # Errors
/// Those of the file system.
pub fn find(home: &Path, id: Uuid) -> Result<Vec<Kept>, AuditError> {
    let folder = home.join("vault");
    let at = AuditError::at(&folder);
    let work = || -> io::Result<Vec<Kept>> {
        let files = file::list(&folder)?;
        let Some(named) = search(&files, id, &|kept| kept.record == id || kept.exchange == id)?.pop() else {
            return Ok(Vec::new());
        };
        if named.exchange == id && named.last && named.record == id {
            return Ok(vec![named]);
        }
        search(&files, named.exchange, &|kept| kept.exchange == named.exchange)
    };
    work().map_err(at)
}

/// Everything `wanted`, from the time of an id on up to the last deposit of its exchange.
fn search(files: &[(u64, PathBuf)], id: Uuid, wanted: &dyn Fn(&Kept) -> bool) -> io::Result<Vec<Kept>> {
    let time = id.get_timestamp().map_or(0, |stamp| {
        let (seconds, nanos) = stamp.to_unix();
        (seconds * 1000 + u64::from(nanos) / 1_000_000).saturating_sub(SKEW)
    });
    // A file that another followed before that time holds nothing of it.
    let mut begin = 0;
    for (place, (_, path)) in files.iter().enumerate().skip(1) {
        if header(&File::open(path)?)?.is_some_and(|header| header.began >= time) {
            break;
        }
        begin = place;
    }
    let mut found: Vec<Kept> = Vec::new();
    for (place, (_, path)) in files.iter().enumerate().skip(begin) {
        let until = files.get(place + 1).map_or(u64::MAX, |(first, _)| *first);
        each(path, until, &mut |kept| {
            if wanted(&kept) {
                found.push(kept);
            }
        })?;
        if found.last().is_some_and(|kept| kept.last) {
            break;
        }
    }
    Ok(found)
}

impl Kept {
    /// Its salts; those that were erased are not there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn salts(&self) -> Result<Salts, AuditError> {
        let bytes = self.read(0, self.head.salts_bytes() as u64)?;
        let mut bytes = bytes.chunks_exact(SALT);
        let mut next = |bit: u8| {
            let there = self.head.salts >> bit & 1 == 1;
            let salt = if there { bytes.next() } else { None };
            salt.and_then(|salt| Salt::from_bytes(salt.try_into().ok()?))
        };
        Ok(Salts { request: next(0), redacted: next(1), answer: next(2) })
    }

    /// The request's body as it is stored; `None` when it is not, or not any more.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn request(&self) -> Result<Option<Vec<u8>>, AuditError> {
        self.body(self.head.salts_bytes() as u64, self.head.lengths[0])
    }

    /// The answer's.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn answer(&self) -> Result<Option<Vec<u8>>, AuditError> {
        self.body(self.head.salts_bytes() as u64 + u64::from(self.head.lengths[0]), self.head.lengths[1])
    }

    fn body(&self, from: u64, length: u32) -> Result<Option<Vec<u8>>, AuditError> {
        let bytes = self.read(from, length.into())?;
        // Neither JSON, nor an event, nor an age file begins with a zero.
        Ok(Some(bytes).filter(|bytes| bytes.iter().any(|byte| *byte != 0)))
    }

    fn read(&self, from: u64, length: u64) -> Result<Vec<u8>, AuditError> {
        let mut bytes = vec![0; length as usize];
        let read = File::open(&self.path).and_then(|file| file.read_exact_at(&mut bytes, self.at + from));
        read.map_err(AuditError::at(&self.path))?;
        Ok(bytes)
    }
}

/// Overwrites with zeros, durably. What is gone already is overwritten again.
///
/// # Errors
/// Those of the file system.
pub fn erase(kept: &Kept, what: Erase) -> Result<(), AuditError> {
    let length = match what {
        Erase::Salts => kept.head.salts_bytes() as u64,
        Erase::All => kept.head.behind(),
    };
    let work = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&kept.path)?;
        let zeros = vec![0; length.min(1 << 20) as usize];
        let mut done = 0;
        while done < length {
            let step = zeros.len().min((length - done) as usize);
            file.write_all_at(zeros.get(..step).unwrap_or_default(), kept.at + done)?;
            done += step as u64;
        }
        file.sync_all()
    };
    work().map_err(AuditError::at(&kept.path))
}

/// Removes the files whose records are all before an index; `home` is the directory of the origin. The newest file stays: it may be
/// the one that is written.
///
/// # Errors
/// Those of the file system.
pub(in crate::audit) fn prune(home: &Path, before: u64) -> Result<(), AuditError> {
    let folder = home.join("vault");
    let files = file::list(&folder).map_err(AuditError::at(&folder))?;
    for pair in files.windows(2) {
        let [(_, path), (next, _)] = pair else { continue };
        let work = || -> io::Result<bool> {
            let mut newest = None;
            if *next > before {
                each(path, *next, &mut |kept| newest = newest.max(Some(kept.index)))?;
            }
            let over = *next <= before || newest.is_some_and(|newest| newest < before);
            if over {
                std::fs::remove_file(path)?;
            }
            Ok(over)
        };
        if !work().map_err(AuditError::at(path))? {
            break;
        }
    }
    Ok(())
}

fn header(file: &File) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Header::decode(&bytes)),
    }
}

/// Every deposit of one file, in order, up to the first that belongs to the next.
fn each(path: &Path, until: u64, see: &mut dyn FnMut(Kept)) -> io::Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if header(&file)?.is_none() {
        return Ok(());
    }
    let (mut at, mut bytes) = (HEADER as u64, [0; HEAD]);
    loop {
        match file.read_exact_at(&mut bytes, at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let Some(head) = Head::decode(&bytes) else { return Ok(()) };
        let end = at + HEAD as u64 + head.behind();
        if head.index >= until || end > length {
            return Ok(());
        }
        let Head { index, exchange, record, form, last, .. } = head;
        see(Kept { index, record, exchange, form, last, head, path: path.to_path_buf(), at: at + HEAD as u64 });
        at = end;
    }
}
