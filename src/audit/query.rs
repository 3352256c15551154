//! Finds records: by time and by the fields of the index, in sealed segments by what their indexes say, in the WAL by reading.

use super::AuditError;
use super::parts::{Open, Parts, Wal};
use super::sealed::entries::Reader as Entries;
use super::sealed::index::{Index, Run};
use super::sealed::terms::{Field, Terms, hash};
use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::path::Path;

#[cfg(test)]
pub(in crate::audit) mod tests;

/// What is looked for. Nothing in it: every record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not made before this time, as records write times.
    since: Option<String>,
    /// Not made after.
    until: Option<String>,
    /// One of the values in each of the fields.
    terms: Vec<(Field, Vec<String>)>,
}

/// A record and its index in the log.
pub type Found = (u64, Vec<u8>);

/// What finding took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// Runs of records that were unpacked.
    pub runs_read: u64,
    /// Of so many in the sealed segments that were looked at.
    pub runs: u64,
    /// Records of the WAL that were read.
    pub written: u64,
    /// Bytes of the files that are done with.
    pub bytes: u64,
}

impl Filter {
    /// Asks for records not made before a time, nor after another, as records write times.
    pub fn between(since: Option<String>, until: Option<String>) -> Filter {
        Filter { since, until, terms: Vec::new() }
    }

    /// Asks for one of these values in a field; no values ask for nothing.
    #[must_use]
    pub fn with(mut self, field: Field, values: impl IntoIterator<Item = String>) -> Filter {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.terms.push((field, values));
        }
        self
    }

    /// Whether it lets every record through.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether a record is looked for.
    pub fn admits(&self, entry: &[u8]) -> bool {
        if self.is_empty() {
            return true;
        }
        let terms = Terms::of(entry);
        self.spans(&terms.time, &terms.time)
            && self.terms.iter().all(|(field, values)| values.iter().any(|value| terms.has(*field, value)))
    }

    /// Whether any moment between two is looked for.
    fn spans(&self, from: &str, to: &str) -> bool {
        self.since.as_deref().is_none_or(|since| since <= to) && self.until.as_deref().is_none_or(|until| from <= until)
    }

    /// The runs of a sealed segment that may hold what is looked for, in order.
    fn runs<'a>(&self, index: &'a Index) -> Vec<(usize, &'a Run)> {
        let mut runs: Vec<(usize, &Run)> = index.runs.iter().enumerate().collect();
        runs.retain(|(_, run)| self.spans(&run.from, &run.to));
        for (field, values) in &self.terms {
            let holding: BTreeSet<usize> = values.iter().flat_map(|value| index.runs_with(hash(*field, value))).collect();
            runs.retain(|(place, _)| holding.contains(place));
        }
        runs
    }
}

/// One look through one log.
pub struct Search<'a> {
    parts: Parts,
    filter: &'a Filter,
    effort: Effort,
}

impl<'a> Search<'a> {
    /// Looks for what the filter lets through.
    pub fn new(parts: Parts, filter: &'a Filter) -> Search<'a> {
        Search { parts, filter, effort: Effort::default() }
    }

    /// What it took so far.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// The newest records looked for, at most `limit`, oldest first.
    ///
    /// # Errors
    /// `Damaged` when a segment is not what was written, and those of the file system.
    pub fn newest(&mut self, limit: usize) -> Result<Vec<Found>, AuditError> {
        let mut found: VecDeque<Found> = VecDeque::new();
        for part in self.parts.take(0).into_iter().rev() {
            let (first, room) = (part.first, limit.saturating_sub(found.len()));
            if room == 0 {
                break;
            }
            let newer = match self.parts.open(part)? {
                None => break,
                Some(Open::Wal(wal)) => self.newest_written(wal, room)?,
                Some(Open::Sealed { index, entries, path }) => self.newest_sealed(first, &index, entries, &path, room)?,
            };
            newer.into_iter().rev().for_each(|record| found.push_front(record));
        }
        Ok(found.into())
    }

    /// Shows every record looked for from index `from` on, oldest first, until there are no more or `each` has enough.
    ///
    /// # Errors
    /// As [`Search::newest`], and what `each` says.
    pub fn each<E: From<AuditError>>(
        &mut self,
        from: u64,
        each: &mut dyn FnMut(u64, &[u8], Effort) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        for part in self.parts.take(from) {
            let first = part.first;
            let flow = match self.parts.open(part)? {
                None => ControlFlow::Continue(()),
                Some(Open::Wal(wal)) => self.each_written(wal, from, each)?,
                Some(Open::Sealed { index, entries, path }) => self.each_sealed(first, &index, entries, &path, from, each)?,
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn newest_written(&mut self, mut wal: Wal, room: usize) -> Result<VecDeque<Found>, AuditError> {
        let mut found = VecDeque::new();
        while let Some((index, entry)) = wal.next(&self.parts)? {
            self.effort.written += 1;
            if self.filter.admits(entry) {
                if found.len() == room {
                    found.pop_front();
                }
                found.push_back((index, entry.to_vec()));
            }
        }
        Ok(found)
    }

    fn newest_sealed(
        &mut self,
        first: u64,
        index: &Index,
        mut entries: Entries,
        path: &Path,
        room: usize,
    ) -> Result<VecDeque<Found>, AuditError> {
        self.effort.runs += index.runs.len() as u64;
        let mut found = VecDeque::new();
        for (place, run) in self.filter.runs(index).into_iter().rev() {
            let mut here = Vec::new();
            self.run(first, place, run, &mut entries, path, &mut |index, entry| here.push((index, entry.to_vec())))?;
            let surplus = (found.len() + here.len()).saturating_sub(room);
            here.into_iter().skip(surplus).rev().for_each(|record| found.push_front(record));
            if found.len() >= room {
                break;
            }
        }
        Ok(found)
    }

    fn each_written<E: From<AuditError>>(
        &mut self,
        mut wal: Wal,
        from: u64,
        each: &mut dyn FnMut(u64, &[u8], Effort) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let before = self.effort.bytes;
        loop {
            self.effort.bytes = before + wal.at();
            let Some((index, entry)) = wal.next(&self.parts)? else { return Ok(ControlFlow::Continue(())) };
            self.effort.written += 1;
            if index >= from && self.filter.admits(entry) && each(index, entry, self.effort)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    fn each_sealed<E: From<AuditError>>(
        &mut self,
        first: u64,
        index: &Index,
        mut entries: Entries,
        path: &Path,
        from: u64,
        each: &mut dyn FnMut(u64, &[u8], Effort) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        self.effort.runs += index.runs.len() as u64;
        let before = self.effort.bytes;
        for (place, run) in self.filter.runs(index) {
            let next = super::sealed::entries::first_of(first, place + 1);
            if next <= from {
                continue;
            }
            self.effort.bytes = before + run.place.offset;
            let mut flow = Ok(ControlFlow::Continue(()));
            let effort = self.effort;
            self.run(first, place, run, &mut entries, path, &mut |index, entry| {
                if index >= from && matches!(flow, Ok(ControlFlow::Continue(()))) {
                    flow = each(index, entry, effort);
                }
            })?;
            if flow?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.effort.bytes = before + index.runs.last().map_or(0, |run| run.place.offset + u64::from(run.place.packed));
        Ok(ControlFlow::Continue(()))
    }

    /// Shows the records of one run that are looked for.
    fn run(
        &mut self,
        first: u64,
        place: usize,
        run: &Run,
        entries: &mut Entries,
        path: &Path,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), AuditError> {
        self.effort.runs_read += 1;
        let begin = super::sealed::entries::first_of(first, place);
        let unpacked = entries.run(run.place);
        let unpacked = unpacked.map_err(|error| self.parts.damage(begin, path, run.place.offset, &error.to_string()))?;
        for (entry, index) in unpacked.zip(begin..) {
            if self.filter.admits(entry) {
                each(index, entry);
            }
        }
        Ok(())
    }
}
