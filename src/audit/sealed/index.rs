//! The index of a sealed segment: where its runs are, when they were written, and in which of them a term occurs.
//!
//! It says only where to look. What is found is read from the records themselves, and `kt audit verify` makes the index anew
//! from them, so that an index changed by hand can hide nothing unnoticed. All numbers are little endian.
//!
//! ```text
//! "kt-index" | u32 version | u32 runs | u64 first | u64 last | u32 exchanges open before | u32 and behind | u64 postings
//! run        u64 offset | u32 packed | u32 unpacked bytes | time of its first record (30) | of its last (30) | u32 zero
//! open       u64 index | id of the `received` record (36) | u32 zero        before the first record, then behind the last
//! posting    u64 hash of the term | u32 run                                 sorted
//! crc32c     u32, of all before
//! ```

use super::entries::{Place, run_of};
use super::terms::{Terms, hash};
use super::{Books, Durable, Sealed, invalid};
use std::collections::HashMap;
use std::io::{self, Write};

const MAGIC: &[u8; 8] = b"kt-index";
const VERSION: u32 = 1;
const HEAD: usize = 48;
const RUN: usize = 80;
const OPEN: usize = 48;
const POSTING: usize = 12;
const TIME: usize = 30;
const ID: usize = 36;

/// A run of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where it lies.
    pub place: Place,
    /// The earliest time in it, as written in records.
    pub from: String,
    /// The latest.
    pub to: String,
}

/// What the index of a segment says.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    /// Its runs, in order.
    pub runs: Vec<Run>,
    /// Exchanges open before its first record: id of the `received` record and its index.
    pub before: HashMap<String, u64>,
    /// Exchanges open behind its last record.
    pub behind: HashMap<String, u64>,
    postings: Vec<(u64, u32)>,
}

impl Index {
    /// Reads the index of a segment.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` when it is not an index of this segment.
    pub fn read(sealed: &Sealed) -> io::Result<Index> {
        let bytes = std::fs::read(sealed.path("idx"))?;
        Index::parse(&bytes, sealed).ok_or_else(|| invalid("the index of the segment is damaged"))
    }

    /// The runs in which a term occurs, in order.
    pub fn runs_with(&self, term: u64) -> impl Iterator<Item = usize> {
        let begin = self.postings.partition_point(|posting| posting.0 < term);
        self.postings.get(begin..).unwrap_or_default().iter().take_while(move |posting| posting.0 == term).map(|p| p.1 as usize)
    }

    fn parse(bytes: &[u8], sealed: &Sealed) -> Option<Index> {
        let (bytes, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(bytes) {
            return None;
        }
        let mut bytes = Bytes(bytes);
        let known = bytes.take(8)? == MAGIC && bytes.u32()? == VERSION;
        let runs = bytes.u32()?;
        let place = (bytes.u64()?, bytes.u64()?) == (sealed.first, sealed.last);
        let (before, behind, postings) = (bytes.u32()?, bytes.u32()?, bytes.u64()?);
        if !known || !place || runs as usize != run_of(sealed.first, sealed.last) + 1 {
            return None;
        }
        let text = |bytes: &[u8]| Some(std::str::from_utf8(bytes).ok()?.trim_end_matches('\0').to_string());
        let run = |bytes: &mut Bytes| {
            let place = Place { offset: bytes.u64()?, packed: bytes.u32()?, unpacked: bytes.u32()? };
            let run = Run { place, from: text(bytes.take(TIME)?)?, to: text(bytes.take(TIME)?)? };
            bytes.u32().map(|_| run)
        };
        let runs = (0..runs).map(|_| run(&mut bytes)).collect::<Option<_>>()?;
        let exchange = |bytes: &mut Bytes| {
            let index = bytes.u64()?;
            let id = text(bytes.take(ID)?)?;
            bytes.u32().map(|_| (id, index))
        };
        let before = (0..before).map(|_| exchange(&mut bytes)).collect::<Option<_>>()?;
        let behind = (0..behind).map(|_| exchange(&mut bytes)).collect::<Option<_>>()?;
        let postings = (0..postings).map(|_| Some((bytes.u64()?, bytes.u32()?))).collect::<Option<_>>()?;
        bytes.0.is_empty().then_some(Index { runs, before, behind, postings })
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }
}

/// Makes the index of one segment from its records.
pub struct Builder {
    first: u64,
    next: u64,
    before: HashMap<String, u64>,
    times: Vec<(String, String)>,
    postings: Vec<(u64, u32)>,
    /// Where the postings of the run being added begin: those before are sorted out.
    settled: usize,
}

impl Builder {
    /// For a segment that begins with this record, and the books before it.
    pub fn new(first: u64, books: &Books) -> Builder {
        Builder { first, next: first, before: books.open.clone(), times: Vec::new(), postings: Vec::new(), settled: 0 }
    }

    /// Adds the next record.
    pub fn add(&mut self, entry: &[u8]) {
        let run = run_of(self.first, self.next);
        let terms = Terms::of(entry);
        match self.times.get_mut(run) {
            Some((from, to)) => {
                if *terms.time < **from {
                    *from = terms.time.clone().into_owned();
                }
                if *terms.time > **to {
                    *to = terms.time.clone().into_owned();
                }
            }
            None => {
                self.settle();
                self.times.push((terms.time.clone().into_owned(), terms.time.clone().into_owned()));
            }
        }
        self.postings.extend(terms.each().map(|(field, value)| (hash(field, value), run as u32)));
        self.next += 1;
    }

    /// The index, given where the runs lie and the books behind the last record.
    pub fn finish(mut self, places: Vec<Place>, books: &Books) -> Index {
        self.settle();
        self.postings.sort_unstable();
        let runs = places.into_iter().zip(self.times).map(|(place, (from, to))| Run { place, from, to }).collect();
        Index { runs, before: self.before, behind: books.open.clone(), postings: self.postings }
    }

    /// Most terms occur in a run many times: once is enough.
    fn settle(&mut self) {
        let mut fresh = self.postings.split_off(self.settled);
        fresh.sort_unstable();
        fresh.dedup();
        self.postings.append(&mut fresh);
        self.settled = self.postings.len();
    }
}

/// Writes an index, last of the files of its segment.
pub(super) fn write(mut out: Durable, index: &Index, sealed: &Sealed) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(
        HEAD + index.runs.len() * RUN + (index.before.len() + index.behind.len()) * OPEN + index.postings.len() * POSTING + 4,
    );
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(index.runs.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&sealed.first.to_le_bytes());
    bytes.extend_from_slice(&sealed.last.to_le_bytes());
    bytes.extend_from_slice(&(index.before.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(index.behind.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(index.postings.len() as u64).to_le_bytes());
    for Run { place, from, to } in &index.runs {
        bytes.extend_from_slice(&place.offset.to_le_bytes());
        bytes.extend_from_slice(&place.packed.to_le_bytes());
        bytes.extend_from_slice(&place.unpacked.to_le_bytes());
        put_text(&mut bytes, from, TIME);
        put_text(&mut bytes, to, TIME);
        bytes.extend_from_slice(&[0; 4]);
    }
    put_open(&mut bytes, &index.before);
    put_open(&mut bytes, &index.behind);
    for (term, run) in &index.postings {
        bytes.extend_from_slice(&term.to_le_bytes());
        bytes.extend_from_slice(&run.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    out.write_all(&bytes)?;
    out.finish()
}

fn put_open(bytes: &mut Vec<u8>, open: &HashMap<String, u64>) {
    let mut open: Vec<(&u64, &String)> = open.iter().map(|(id, index)| (index, id)).collect();
    open.sort();
    for (index, id) in open {
        bytes.extend_from_slice(&index.to_le_bytes());
        put_text(bytes, id, ID);
        bytes.extend_from_slice(&[0; 4]);
    }
}

/// A text in a field of fixed width; a longer one, which no writer of ours makes, is cut.
fn put_text(bytes: &mut Vec<u8>, text: &str, width: usize) {
    let kept = text.floor_char_boundary(width);
    bytes.extend_from_slice(&text.as_bytes()[..kept]);
    bytes.resize(bytes.len() + width - kept, 0);
}
