//! One record by its index, wherever it lies.

use super::AuditError;
use super::sealed::{self, entries, index::Index};
use super::segment::{self, Frame, Reader};
use std::io;
use std::path::Path;

/// How often it is looked for anew: a segment may be sealed between the listing and the reading.
const TRIES: usize = 3;

/// The bytes of the record with this index; `None` when it was pruned or is not there yet. `home` is the directory of the origin.
///
/// # Errors
/// Those of the file system, and `InvalidData` where a file is not what was written.
pub fn entry(home: &Path, index: u64) -> Result<Option<Vec<u8>>, AuditError> {
    let mut found = Ok(None);
    for _ in 0..TRIES {
        found = in_wal(home, index).and_then(|entry| match entry {
            Some(entry) => Ok(Some(entry)),
            None => in_sealed(home, index),
        });
        match &found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(None) => {}
            _ => break,
        }
    }
    found.map_err(AuditError::at(home))
}

fn in_sealed(home: &Path, index: u64) -> io::Result<Option<Vec<u8>>> {
    let known = sealed::list(home)?;
    let Some(segment) = known.iter().find(|segment| (segment.first..=segment.last).contains(&index)) else { return Ok(None) };
    let run = entries::run_of(segment.first, index);
    let Some(place) = Index::read(segment)?.runs.get(run).map(|run| run.place) else { return Ok(None) };
    let skipped = index - entries::first_of(segment.first, run);
    Ok(entries::Reader::open(segment)?.run(place)?.nth(skipped as usize).map(<[u8]>::to_vec))
}

fn in_wal(home: &Path, index: u64) -> io::Result<Option<Vec<u8>>> {
    let segments = segment::list(&home.join("wal"))?;
    let Some((first, path)) = segments.iter().rev().find(|(first, _)| *first <= index) else { return Ok(None) };
    let (mut reader, _) = Reader::open(path)?.map_err(sealed::invalid)?;
    for _ in *first..=index {
        let Frame::Whole { .. } = reader.advance()? else { return Ok(None) };
    }
    Ok(Some(reader.entry().to_vec()))
}
