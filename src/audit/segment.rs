//! The bytes of the log: segment files, their header and their frames.
//!
//! A segment is named after the index of its first record and is written full of zeros before its first use, so that a sync
//! has only data to write. All numbers are little endian.
//!
//! ```text
//! header, 4096 bytes  "kt-audit" | u32 version | u32 origin length | u64 first index | 64 hashes (32 each) | origin
//!                     zeros, and the u32 crc32c of all before in the last four bytes
//! frame               u32 length of the entry | u32 crc32c of length, leaf, entry | leaf (32) | entry
//! ```
//!
//! `leaf = SHA-256(0x00 || entry)`, the leaf of an RFC 6962 tree. The hashes of the header are the tree before the first record
//! in its compact form ([`Frontier`]), so that a segment can be checked, and records in it proved, when those before it are
//! gone. A frame of length zero ends a segment. A segment also ends where the next one begins: after a failed sync, records not
//! yet acknowledged are written again to a new segment, and what the old one holds of them is void.

use super::merkle::{Frontier, Hash};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest entry in bytes: the limit of the C2SP tile format.
pub const MAX_ENTRY: usize = 65_535;
/// Bytes before the first frame.
pub const HEADER_BYTES: usize = 4096;
/// Bytes of a frame before its entry.
pub const FRAME_HEAD: usize = 40;
/// Smallest segment: a header and one longest frame must fit.
pub const MIN_SEGMENT: u64 = 128 * 1024;

const MAGIC: &[u8; 8] = b"kt-audit";
/// 1 was a chain of links, and is not read any more.
const VERSION: u32 = 2;
const PEAKS_AT: usize = 24;
const ORIGIN_AT: usize = PEAKS_AT + 64 * size_of::<Hash>();
const CRC_AT: usize = HEADER_BYTES - 4;
/// Read ahead at once, in bytes: more than the longest frame.
const WINDOW: usize = 128 * 1024;
static ZEROS: [u8; WINDOW] = [0; WINDOW];

/// Appends one frame.
pub fn put_frame(out: &mut Vec<u8>, leaf: &Hash, entry: &[u8]) {
    let length = (entry.len() as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&frame_crc(&length, leaf, entry).to_le_bytes());
    out.extend_from_slice(leaf);
    out.extend_from_slice(entry);
}

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whose log.
    pub origin: String,
    /// All before its first record; its size is the index of that.
    pub before: Frontier,
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(self.origin.len() as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.before.size().to_le_bytes());
        for (place, peak) in out[PEAKS_AT..ORIGIN_AT].chunks_exact_mut(size_of::<Hash>()).zip(self.before.peaks()) {
            place.copy_from_slice(peak);
        }
        out[ORIGIN_AT..ORIGIN_AT + self.origin.len()].copy_from_slice(self.origin.as_bytes());
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header; the error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Header, &'static str> {
        let Ok(bytes) = <&[u8; HEADER_BYTES]>::try_from(bytes) else { return Err("the segment has no header") };
        if &bytes[..8] != MAGIC {
            return Err("the file is not a segment of an audit log");
        }
        if u32_at(bytes, CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Err("the segment's header does not match its checksum");
        }
        if u32_at(bytes, 8) != VERSION {
            return Err("the segment is of a version this build does not know");
        }
        let name = bytes[ORIGIN_AT..CRC_AT].get(..u32_at(bytes, 12) as usize).unwrap_or_default();
        let mut first = [0; 8];
        first.copy_from_slice(&bytes[16..24]);
        let first = u64::from_le_bytes(first);
        let (peaks, _) = bytes[PEAKS_AT..ORIGIN_AT].as_chunks::<32>();
        let peaks = peaks.get(..first.count_ones() as usize).unwrap_or_default();
        let before = Frontier::from_parts(first, peaks).ok_or("the segment's header names no tree")?;
        Ok(Header { origin: String::from_utf8_lossy(name).into_owned(), before })
    }
}

/// Path of the segment that begins with an index.
pub fn path(wal: &Path, first: u64) -> PathBuf {
    wal.join(format!("{first:020}.wal"))
}

/// The segments of a log, in order: first index and path.
pub fn list(wal: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(wal)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(first) = name.strip_suffix(".wal").filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok())
        {
            found.push((first, path));
        }
    }
    found.sort();
    Ok(found)
}

/// A new file of zeros, durable, for its owner alone.
pub fn blank(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes {
        let step = (bytes - at).min(zeros.len() as u64);
        file.write_all_at(zeros.get(..step as usize).unwrap_or(&zeros), at)?;
        at += step;
    }
    file.sync_all()?;
    Ok(file)
}

/// What stands at a reader's place.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole frame, now in [`Reader::entry`]; the reader has moved on.
    Whole {
        /// The leaf it claims.
        leaf: Hash,
    },
    /// Zeros: nothing was written here.
    Blank,
    /// Something else, and why it is not a frame.
    Bad(&'static str),
}

/// Reads the frames of one segment in order.
pub struct Reader {
    file: File,
    /// Where the next frame begins.
    at: u64,
    window: Vec<u8>,
    window_at: u64,
    entry: Vec<u8>,
}

impl Reader {
    /// Opens a segment and reads its header; the inner error says what is wrong with the header.
    pub fn open(path: &Path) -> io::Result<Result<(Reader, Header), &'static str>> {
        let file = File::open(path)?;
        let mut reader = Reader { file, at: HEADER_BYTES as u64, window: Vec::new(), window_at: 0, entry: Vec::new() };
        let header = Header::parse(reader.bytes(0, HEADER_BYTES)?);
        Ok(header.map(|header| (reader, header)))
    }

    /// What tells its file from another of the same name.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// Where the next frame begins, in bytes from the beginning of the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The entry of the last whole frame.
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }

    /// Forgets what was read ahead: a writer may have gone on.
    pub fn refresh(&mut self) {
        self.window.clear();
    }

    /// Reads the next frame.
    pub fn advance(&mut self) -> io::Result<Frame> {
        let head: [u8; FRAME_HEAD] = match self.bytes(self.at, FRAME_HEAD)? {
            head if head.iter().all(|byte| *byte == 0) => return Ok(Frame::Blank),
            head => match head.try_into() {
                Ok(head) => head,
                Err(_) => return Ok(Frame::Bad("the segment ends inside a record")),
            },
        };
        let length = u32_at(&head, 0) as usize;
        if length == 0 || length > MAX_ENTRY {
            return Ok(Frame::Bad("its length is impossible"));
        }
        let mut entry = std::mem::take(&mut self.entry);
        entry.clear();
        entry.extend_from_slice(self.bytes(self.at + FRAME_HEAD as u64, length)?);
        self.entry = entry;
        let mut leaf = [0; 32];
        leaf.copy_from_slice(&head[8..]);
        if self.entry.len() < length {
            return Ok(Frame::Bad("the segment ends inside a record"));
        }
        if frame_crc(&head[..4], &leaf, &self.entry) != u32_at(&head, 4) {
            return Ok(Frame::Bad("its bytes do not match their checksum"));
        }
        self.at += (FRAME_HEAD + length) as u64;
        Ok(Frame::Whole { leaf })
    }

    /// Length of what is left from the reader's place up to the last byte that is not zero.
    pub fn remainder(&mut self) -> io::Result<u64> {
        self.remainder_from(self.at)
    }

    /// The same from any place.
    pub fn remainder_from(&mut self, at: u64) -> io::Result<u64> {
        let (mut from, mut last) = (at, at);
        loop {
            let bytes = self.bytes(from, WINDOW)?;
            if bytes.is_empty() {
                return Ok(last - at);
            }
            // Compared as a whole first: nearly all of it is zeros, and that is quick.
            if bytes != ZEROS.get(..bytes.len()).unwrap_or_default()
                && let Some(place) = bytes.iter().rposition(|byte| *byte != 0)
            {
                last = from + place as u64 + 1;
            }
            from += bytes.len() as u64;
        }
    }

    /// Whether what stands at the reader's place is the beginning of a frame and then zeros: a write that a crash or a look at
    /// the wrong moment cut short. Writes are cut where a sector ends (512 bytes), and an entry holds no zero byte, so a record
    /// changed by hand does not pass for one.
    pub fn is_unfinished(&mut self) -> io::Result<bool> {
        let written = self.remainder()?;
        let head = self.bytes(self.at, FRAME_HEAD)?;
        let length = if head.len() < 4 { 0 } else { u32_at(head, 0) as u64 };
        let sector_end = (self.at + written).next_multiple_of(512) - self.at;
        let whole = FRAME_HEAD as u64 + length.min(MAX_ENTRY as u64);
        Ok(sector_end == written && written < whole || sector_end <= FRAME_HEAD as u64)
    }

    /// Bytes of the file, fewer at its end.
    pub fn bytes(&mut self, from: u64, count: usize) -> io::Result<&[u8]> {
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if !(held.contains(&from) && from + count as u64 <= held.end) {
            self.window.resize(count.max(WINDOW), 0);
            self.window_at = from;
            let mut filled = 0;
            while filled < self.window.len() {
                match self.file.read_at(&mut self.window[filled..], from + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.window.truncate(filled);
        }
        let start = (from - self.window_at) as usize;
        let end = (start + count).min(self.window.len());
        Ok(self.window.get(start..end).unwrap_or_default())
    }
}

fn frame_crc(length: &[u8], leaf: &Hash, entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(length), leaf), entry)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_any_changed_byte_is_seen() {
        let mut before = Frontier::new();
        (0..7).for_each(|n| before.push([n; 32]));
        let header = Header { origin: "kt/test".into(), before };
        let bytes = header.encode();
        assert_eq!(Header::parse(&bytes), Ok(header));
        for place in 0..HEADER_BYTES {
            let mut changed = bytes;
            changed[place] ^= 0x10;
            assert!(Header::parse(&changed).is_err(), "{place}");
        }
    }
}
