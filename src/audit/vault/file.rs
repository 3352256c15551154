//! The bytes of a vault file: its header, and the heads of what was deposited.

use super::super::commitment::SALT;
use super::{Form, Placed};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Bytes of a file's header.
pub(super) const HEADER: usize = 32;
/// Bytes of a deposit before its salts.
pub(super) const HEAD: usize = 60;

const MAGIC: &[u8; 8] = b"kt-vault";
const VERSION: u32 = 1;
/// Begins each deposit: never zero, so that zeros end a file.
const DEPOSIT: u32 = 0x7661_756c;

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Index of the first record it belongs to.
    pub(super) first: u64,
    /// When it began, in milliseconds since 1970.
    pub(super) began: u64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        out[24..32].copy_from_slice(&self.began.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Header> {
        let mut bytes = Fields(bytes);
        let known = bytes.take::<8>()? == *MAGIC && u32::from_le_bytes(bytes.take()?) == VERSION;
        bytes.take::<4>()?;
        let header = Header { first: u64::from_le_bytes(bytes.take()?), began: u64::from_le_bytes(bytes.take()?) };
        known.then_some(header)
    }
}

/// The head of one deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) index: u64,
    pub(super) exchange: Uuid,
    pub(super) record: Uuid,
    /// Bytes of the request and of the answer.
    pub(super) lengths: [u32; 2],
    /// Which salts are there, a bit each.
    pub(super) salts: u8,
    pub(super) form: Form,
    /// Nothing more comes of its exchange.
    pub(super) last: bool,
}

impl Head {
    /// Of a deposit that belongs to the record with this index. `None` for bodies beyond 4 GiB.
    pub(super) fn of(index: u64, placed: &Placed) -> Option<Head> {
        let Placed { exchange, record, last, deposit } = placed;
        let salts = deposit.salts.each().iter().enumerate().map(|(bit, salt)| u8::from(salt.is_some()) << bit).sum();
        let length = |body: &Option<super::Body>| u32::try_from(body.as_ref().map_or(0, |body| body.bytes().len())).ok();
        let lengths = [length(&deposit.request)?, length(&deposit.answer)?];
        Some(Head { index, exchange: *exchange, record: *record, lengths, salts, form: deposit.form, last: *last })
    }

    /// Bytes of salts and bodies behind it.
    pub(super) fn behind(&self) -> u64 {
        let [request, answer] = self.lengths.map(u64::from);
        self.salts_bytes() as u64 + request + answer
    }

    /// Bytes of its salts.
    pub(super) fn salts_bytes(&self) -> usize {
        self.salts.count_ones() as usize * SALT
    }

    pub(super) fn encode(&self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        out[..4].copy_from_slice(&DEPOSIT.to_le_bytes());
        out[8..16].copy_from_slice(&self.index.to_le_bytes());
        out[16..32].copy_from_slice(self.exchange.as_bytes());
        out[32..48].copy_from_slice(self.record.as_bytes());
        out[48..52].copy_from_slice(&self.lengths[0].to_le_bytes());
        out[52..56].copy_from_slice(&self.lengths[1].to_le_bytes());
        out[56..60].copy_from_slice(&[self.salts, self.form.number(), self.last.into(), 0]);
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` where nothing was deposited, or was cut short.
    pub(super) fn decode(bytes: &[u8; HEAD]) -> Option<Head> {
        let whole = crc32c::crc32c(bytes.get(8..)?);
        let mut bytes = Fields(bytes);
        if u32::from_le_bytes(bytes.take()?) != DEPOSIT || u32::from_le_bytes(bytes.take()?) != whole {
            return None;
        }
        let index = u64::from_le_bytes(bytes.take()?);
        let (exchange, record) = (Uuid::from_bytes(bytes.take()?), Uuid::from_bytes(bytes.take()?));
        let lengths = [u32::from_le_bytes(bytes.take()?), u32::from_le_bytes(bytes.take()?)];
        let [salts, form, last, _] = bytes.take()?;
        Some(Head { index, exchange, record, lengths, salts, form: Form::from_number(form)?, last: last == 1 })
    }
}

/// Numbers of fixed length, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// Where the file that begins with this index lies.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.vault"))
}

/// The files of a vault, in order, each with its first index; none when there is no vault.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let listing = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut found = Vec::new();
    for file in listing {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".vault"));
        if let Some(first) = name.and_then(|name| name.parse().ok()) {
            found.push((first, path));
        }
    }
    found.sort();
    Ok(found)
}
