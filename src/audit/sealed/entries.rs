//! The records of a sealed segment: zstd frames, one for each run of records that share a tile of the tree, up to 256.
//!
//! Unpacked, a run is what the C2SP tile format calls an entry bundle: each record after its length in two bytes, the higher
//! first. `zstd -d` reads the file without us.

use super::{Durable, Sealed, invalid};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Records of one tile of the tree.
pub const RUN: u64 = 256;
/// The longest run in bytes, unpacked: 256 of the longest record.
const LONGEST: u32 = RUN as u32 * (2 + u16::MAX as u32);
/// A good part of what is to be had, at some 400 MB/s.
const LEVEL: i32 = 1;

/// Where a run lies in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes, packed.
    pub packed: u32,
    /// Its length in bytes, unpacked.
    pub unpacked: u32,
}

/// Which run of a segment a record is in, the first being 0.
pub fn run_of(first: u64, index: u64) -> usize {
    (index / RUN - first / RUN) as usize
}

/// Index of the first record of a run.
pub fn first_of(first: u64, run: usize) -> u64 {
    if run == 0 { first } else { (first / RUN + run as u64) * RUN }
}

/// Writes the records of one segment in order.
pub(super) struct Writer {
    out: Durable,
    pack: zstd::bulk::Compressor<'static>,
    run: Vec<u8>,
    places: Vec<Place>,
}

impl Writer {
    pub(super) fn new(out: Durable) -> io::Result<Writer> {
        Ok(Writer { out, pack: zstd::bulk::Compressor::new(LEVEL)?, run: Vec::new(), places: Vec::new() })
    }

    pub(super) fn add(&mut self, index: u64, entry: &[u8]) -> io::Result<()> {
        let length = u16::try_from(entry.len()).map_err(|_| invalid("a record is too long"))?;
        self.run.extend_from_slice(&length.to_be_bytes());
        self.run.extend_from_slice(entry);
        if (index + 1).is_multiple_of(RUN) { self.flush() } else { Ok(()) }
    }

    /// Makes the file durable, and tells where its runs are.
    pub(super) fn finish(mut self) -> io::Result<Vec<Place>> {
        if !self.run.is_empty() {
            self.flush()?;
        }
        self.out.finish()?;
        Ok(self.places)
    }

    fn flush(&mut self) -> io::Result<()> {
        let packed = self.pack.compress(&self.run)?;
        self.out.write_all(&packed)?;
        let offset = self.places.last().map_or(0, |place| place.offset + u64::from(place.packed));
        self.places.push(Place { offset, packed: packed.len() as u32, unpacked: self.run.len() as u32 });
        self.run.clear();
        Ok(())
    }
}

/// Reads runs of one segment.
pub struct Reader {
    file: File,
    unpack: zstd::bulk::Decompressor<'static>,
    packed: Vec<u8>,
    run: Vec<u8>,
}

impl Reader {
    /// Opens the records of a segment.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(sealed: &Sealed) -> io::Result<Reader> {
        let file = File::open(sealed.path("entries.zst"))?;
        Ok(Reader { file, unpack: zstd::bulk::Decompressor::new()?, packed: Vec::new(), run: Vec::new() })
    }

    /// The records of one run, in order.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` when the run is not what was written.
    pub fn run(&mut self, place: Place) -> io::Result<Run<'_>> {
        if place.unpacked > LONGEST || place.packed > LONGEST {
            return Err(invalid("a run of records is longer than any can be"));
        }
        self.packed.resize(place.packed as usize, 0);
        self.file.read_exact_at(&mut self.packed, place.offset)?;
        self.run.clear();
        self.run.reserve(place.unpacked as usize);
        self.unpack.decompress_to_buffer(&self.packed, &mut self.run)?;
        Ok(Run(&self.run))
    }
}

/// The records of one run; one that is cut short ends early.
pub struct Run<'a>(&'a [u8]);

impl<'a> Iterator for Run<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        self.0 = rest;
        Some(entry)
    }
}
