//! Appends deposits: the framing thread's half of the vault.

use super::Placed;
use super::file::{self, HEADER, Head, Header};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A file beyond this many bytes is followed by another.
const LONGEST: u64 = 256 << 20;
/// Zeros written ahead, so that a sync has only data to write.
const AHEAD: u64 = 1 << 20;

/// The end of the vault.
pub(in crate::audit) struct Vault {
    folder: PathBuf,
    /// Index that names the next file.
    next: u64,
    open: Option<Open>,
    buffer: Vec<u8>,
}

struct Open {
    file: Arc<File>,
    at: u64,
    zeroed: u64,
}

impl Vault {
    /// The vault of a log that holds `size` records; `home` is the directory of its origin.
    pub(in crate::audit) fn new(home: &Path, size: u64) -> Vault {
        Vault { folder: home.join("vault"), next: size, open: None, buffer: Vec::new() }
    }

    /// Takes what belongs to the record with this index. It is written by [`Vault::flush`].
    pub(in crate::audit) fn put(&mut self, index: u64, placed: &Placed) {
        let Some(head) = Head::of(index, placed).filter(|_| !placed.is_empty()) else { return };
        self.buffer.extend_from_slice(&head.encode());
        let deposit = &placed.deposit;
        for salt in deposit.salts.each().into_iter().flatten() {
            self.buffer.extend_from_slice(salt.bytes());
        }
        for body in [&deposit.request, &deposit.answer].into_iter().flatten() {
            self.buffer.extend_from_slice(body.bytes());
        }
    }

    /// Bytes that wait to be written.
    pub(in crate::audit) fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Writes what waits, and names the file to be synced.
    ///
    /// # Errors
    /// Those of the file system.
    pub(in crate::audit) fn flush(&mut self) -> io::Result<Option<Arc<File>>> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        if self.open.is_none() {
            self.open = Some(self.create()?);
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        open.file.write_all_at(&self.buffer, open.at)?;
        open.at += self.buffer.len() as u64;
        self.buffer = Vec::new();
        if open.at > open.zeroed {
            open.file.write_all_at(&vec![0; AHEAD as usize], open.at)?;
            open.zeroed = open.at + AHEAD;
        }
        Ok(Some(open.file.clone()))
    }

    /// What comes next belongs to records from this index on. Nothing waits to be written.
    pub(in crate::audit) fn begin(&mut self, index: u64) {
        self.close();
        self.next = index;
    }

    /// Begins another file when this one is long; `index` is that of the next record.
    pub(in crate::audit) fn limit(&mut self, index: u64) {
        if self.open.as_ref().is_some_and(|open| open.at > LONGEST) {
            self.begin(index);
        }
    }

    /// Writing or syncing failed: what belongs to records from this index on is written anew, to another file.
    pub(in crate::audit) fn anew(&mut self, index: u64) {
        (self.open, self.buffer, self.next) = (None, Vec::new(), index);
    }

    fn create(&self) -> io::Result<Open> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        for (first, path) in file::list(&self.folder)? {
            if first >= self.next {
                // Of records that were never acknowledged, and of none that exist now.
                std::fs::remove_file(path)?;
            }
        }
        let path = file::path(&self.folder, self.next);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
        file.write_all_at(&Header { first: self.next, began }.encode(), 0)?;
        file.write_all_at(&vec![0; AHEAD as usize], HEADER as u64)?;
        file.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        if let Some(home) = self.folder.parent() {
            File::open(home)?.sync_all()?;
        }
        let at = HEADER as u64;
        Ok(Open { file: Arc::new(file), at, zeroed: at + AHEAD })
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take()
            && let Err(error) = open.file.set_len(open.at)
        {
            log::warn!("audit log: a vault file keeps its unused end: {error}");
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.close();
    }
}
