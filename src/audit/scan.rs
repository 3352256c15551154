//! Reads a whole log in order and checks all of it: what a start of the gateway and `kt audit verify` have in common.

use super::AuditError;
use super::origin::Origin;
use super::segment::{self, Frame, Hash, Reader};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first thing wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {index} of {origin} is damaged: {what} ({}, byte {offset})", segment.display())]
pub struct Damage {
    /// The log.
    pub origin: Origin,
    /// Index of the first record that cannot be trusted.
    pub index: u64,
    /// The file.
    pub segment: PathBuf,
    /// Where in it the record begins.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// A log that was read to its end.
#[derive(Debug)]
pub struct Scanned {
    /// Index of the next record: how many there are.
    pub next: u64,
    /// Link of the last record.
    pub link: Hash,
    /// What the records add up to.
    pub tally: Tally,
    /// Exchanges begun and not ended, by the id of their `received` record, with its index.
    pub open: HashMap<String, u64>,
    /// Number of segments.
    pub segments: usize,
    /// The last segment and where its next frame goes.
    pub end: Option<(PathBuf, u64)>,
    /// What stands there.
    pub tail: Tail,
}

/// What stands behind the last whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// The beginning of a record, cut short: of a write going on or of a crash.
    Unfinished,
    /// Something else.
    Torn(Damage),
}

/// Counts of records: `received = completed + interrupted + open`, and `refused` apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Exchanges begun.
    pub received: u64,
    /// Of those, ended by themselves.
    pub completed: u64,
    /// Of those, ended by a stop or a crash.
    pub interrupted: u64,
    /// Exchanges refused before they began: their only record is a `completed` one.
    pub refused: u64,
    /// Records of losses.
    pub gaps: u64,
}

/// How patiently to look at a place that is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Nobody writes.
    None,
    /// A gateway may be writing: look again before calling it damage.
    LookAgain,
}

/// Reads the log of one origin. `progress` gets the bytes read so far, now and then.
///
/// Fails on damage anywhere but behind the last record of the last segment; that is for the caller to judge.
pub fn scan(dir: &Path, origin: &Origin, patience: Patience, progress: &mut dyn FnMut(u64)) -> Result<Scanned, AuditError> {
    let wal = origin.below(dir).join("wal");
    let segments = segment::list(&wal).map_err(AuditError::at(&wal))?;
    let mut log = Scanned {
        next: 0,
        link: segment::genesis(origin),
        tally: Tally::default(),
        open: HashMap::new(),
        segments: segments.len(),
        end: None,
        tail: Tail::Clean,
    };
    let mut read = 0;
    for (place, (first, path)) in segments.iter().enumerate() {
        let until = segments.get(place + 1).map(|(first, _)| *first);
        let part = Part { origin, path, first: *first, until };
        part.read(&mut log, patience, &mut |bytes| progress(read + bytes))?;
        read += log.end.as_ref().map_or(0, |(_, at)| *at);
    }
    Ok(log)
}

/// One segment of a log, and where the next one takes over.
struct Part<'a> {
    origin: &'a Origin,
    path: &'a Path,
    first: u64,
    until: Option<u64>,
}

impl Part<'_> {
    fn read(&self, log: &mut Scanned, patience: Patience, progress: &mut dyn FnMut(u64)) -> Result<(), AuditError> {
        let io = || AuditError::at(self.path);
        let (mut reader, header) = Reader::open(self.path).map_err(io())?.map_err(|what| self.damage(log.next, 0, what))?;
        if self.first != log.next {
            let what = format!("records {} to {} are missing", log.next, self.first.saturating_sub(1));
            return Err(self.damage(log.next, 0, what).into());
        }
        if header.first != self.first || header.origin != self.origin.as_str() {
            return Err(self.damage(log.next, 0, "the segment's header names another place").into());
        }
        if header.previous != log.link {
            return Err(self.damage(log.next, 0, "the segment does not follow from the record before it").into());
        }
        let mut tries = if patience == Patience::LookAgain { 5 } else { 0 };
        log.tail = loop {
            if self.until == Some(log.next) {
                break Tail::Clean;
            }
            let what = match reader.advance().map_err(io())? {
                Frame::Whole { link } => {
                    self.take(log, link, &reader)?;
                    if log.next.is_multiple_of(4096) {
                        progress(reader.at());
                    }
                    continue;
                }
                Frame::Blank if reader.remainder().map_err(io())? == 0 => break Tail::Clean,
                Frame::Blank => "there are zeros in its place and records behind them",
                Frame::Bad(_) if tries == 0 && reader.is_unfinished().map_err(io())? => break Tail::Unfinished,
                Frame::Bad(what) => what,
            };
            if tries == 0 {
                break Tail::Torn(self.damage(log.next, reader.at(), what));
            }
            tries -= 1;
            std::thread::sleep(Duration::from_millis(20));
            reader.refresh();
        };
        log.end = Some((self.path.to_path_buf(), reader.at()));
        match (&log.tail, self.until) {
            (_, None) => Ok(()),
            (_, Some(until)) if until == log.next => Ok(()),
            (Tail::Torn(damage), Some(_)) => Err(damage.clone().into()),
            (_, Some(until)) => {
                let what = format!("records {} to {} are missing", log.next, until.saturating_sub(1));
                Err(self.damage(log.next, reader.at(), what).into())
            }
        }
    }

    fn take(&self, log: &mut Scanned, link: Hash, reader: &Reader) -> Result<(), AuditError> {
        let offset = reader.at() - (segment::FRAME_HEAD + reader.entry().len()) as u64;
        let damage = |what| AuditError::from(self.damage(log.next, offset, what));
        if segment::link(&log.link, &segment::leaf(reader.entry())) != link {
            return Err(damage("it does not follow from the record before it"));
        }
        let Ok(facts) = serde_json::from_slice::<Facts>(reader.entry()) else {
            return Err(damage("it is not a record"));
        };
        match (facts.kind, facts.parent) {
            ("llm.request.received", _) => {
                log.tally.received += 1;
                log.open.insert(facts.id.to_string(), log.next);
            }
            (kind @ ("llm.request.completed" | "llm.request.interrupted"), Some(parent)) => {
                if log.open.remove(parent).is_none() {
                    return Err(damage("it ends an exchange that is not open"));
                }
                match kind {
                    "llm.request.completed" => log.tally.completed += 1,
                    _ => log.tally.interrupted += 1,
                }
            }
            ("llm.request.completed", None) => log.tally.refused += 1,
            ("audit.gap", _) => log.tally.gaps += 1,
            _ => {}
        }
        log.next += 1;
        log.link = link;
        Ok(())
    }

    fn damage(&self, index: u64, offset: u64, what: impl Into<String>) -> Damage {
        Damage { origin: self.origin.clone(), index, segment: self.path.to_path_buf(), offset, what: what.into() }
    }
}

/// What the books need of a record; ids are written without escapes.
#[derive(Deserialize)]
struct Facts<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    parent: Option<&'a str>,
}
