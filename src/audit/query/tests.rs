//! What is found is what a naive reader of every record finds, wherever the records are.

use super::*;
use crate::audit::books::Books;
use crate::audit::checkpoints;
use crate::audit::merkle::{Frontier, leaf_hash};
use crate::audit::note::{Checkpoint, Signer};
use crate::audit::origin::Origin;
use crate::audit::sealed;
use crate::audit::segment::{self, Header};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;

/// A log made by hand: what its journal would have written, without waiting for one.
pub(in crate::audit) struct Made {
    pub dir: TempDir,
    pub origin: Origin,
    pub entries: Vec<Vec<u8>>,
    tree: Frontier,
    books: Books,
}

impl Made {
    pub fn new() -> Made {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let origin = Origin::parse("kt/made").unwrap();
        std::fs::create_dir_all(origin.below(dir.path()).join("wal")).unwrap();
        Made { dir, origin, entries: Vec::new(), tree: Frontier::new(), books: Books::default() }
    }

    pub fn home(&self) -> PathBuf {
        self.origin.below(self.dir.path())
    }

    /// Writes a segment of the WAL.
    pub fn write(&mut self, entries: &[Vec<u8>]) -> PathBuf {
        let path = segment::path(&self.home().join("wal"), self.tree.size());
        let header = Header { origin: self.origin.to_string(), before: self.tree.clone() };
        let mut bytes = header.encode().to_vec();
        for entry in entries {
            segment::put_frame(&mut bytes, &leaf_hash(entry), entry);
            self.tree.push(leaf_hash(entry));
        }
        bytes.resize(bytes.len() + 256, 0);
        std::fs::write(&path, bytes).unwrap();
        self.entries.extend_from_slice(entries);
        path
    }

    /// Seals the oldest segment that is not.
    pub fn seal(&mut self, path: &Path) {
        let end = segment::list(&self.home().join("wal")).unwrap().into_iter().find(|(_, other)| other.as_path() > path);
        let last = end.map_or(self.tree.size(), |(first, _)| first) - 1;
        sealed::seal(&self.home(), path, last, &mut self.books).unwrap();
        std::fs::remove_file(path).unwrap();
    }

    /// Signs the log as it is.
    pub fn sign(&self, key: &Signer) {
        let head = Checkpoint { origin: self.origin.to_string(), size: self.tree.size(), root: self.tree.root() };
        checkpoints::replace(&self.home(), &key.sign(&head)).unwrap();
        std::fs::write(self.home().join("key.pub"), key.verifier().to_string()).unwrap();
    }

    fn parts(&self) -> Parts {
        Parts::list(self.dir.path(), &self.origin).unwrap()
    }
}

fn time(minute: u64) -> String {
    format!("2026-11-21T{:02}:{:02}:00.000000000Z", minute / 60 % 24, minute % 60)
}

fn entry(n: u64, minute: u64, user: u8, verdict: u8) -> Vec<u8> {
    let verdict = ["allow", "redact", "block"][usize::from(verdict % 3)];
    let record = json!({
        "id": format!("id-{n}"), "type": "gateway.stop", "time": time(minute), "user": format!("user-{user}"), "verdict": verdict,
        "gen_ai.request.model": format!("m{}", user % 2),
    });
    record.to_string().into_bytes()
}

/// What a filter means, said once more and without an index.
fn naive(entries: &[Vec<u8>], wanted: &Wanted) -> Vec<Found> {
    let looked_for = |entry: &&(u64, &Vec<u8>)| {
        let record: Value = serde_json::from_slice(entry.1).unwrap();
        let within =
            |name: &str, values: &[String]| values.is_empty() || values.iter().any(|value| record[name] == value.as_str());
        within("user", &wanted.users)
            && within("verdict", &wanted.verdicts)
            && wanted.since.is_none_or(|since| record["time"].as_str().unwrap() >= time(since).as_str())
            && wanted.until.is_none_or(|until| record["time"].as_str().unwrap() <= time(until).as_str())
    };
    let all: Vec<(u64, &Vec<u8>)> = (0..).zip(entries).collect();
    all.iter().filter(looked_for).map(|(index, entry)| (*index, entry.to_vec())).collect()
}

#[derive(Debug, Clone)]
struct Wanted {
    users: Vec<String>,
    verdicts: Vec<String>,
    since: Option<u64>,
    until: Option<u64>,
}

impl Wanted {
    fn filter(&self) -> Filter {
        let filter = Filter { since: self.since.map(time), until: self.until.map(time), ..Filter::default() };
        filter.with(Field::User, self.users.clone()).with(Field::Verdict, self.verdicts.clone())
    }
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let users = prop::collection::vec((0u8..12).prop_map(|user| format!("user-{user}")), 0..3);
    let verdicts = prop::collection::vec(prop::sample::select(vec!["allow", "redact", "block", "warn"]), 0..3);
    let verdicts = verdicts.prop_map(|verdicts| verdicts.into_iter().map(String::from).collect());
    let minute = || prop::option::of(0u64..40);
    (users, verdicts, minute(), minute()).prop_map(|(users, verdicts, since, until)| Wanted { users, verdicts, since, until })
}

/// Segments of records, times not quite in order, the first of them sealed.
fn logs() -> impl Strategy<Value = (Vec<Vec<(u64, u8, u8)>>, usize)> {
    let record = (0u64..5, 0u8..10, 0u8..3);
    (prop::collection::vec(prop::collection::vec(record, 1..400), 1..4), 0usize..4)
}

fn make(segments: &[Vec<(u64, u8, u8)>], seal: usize) -> Made {
    let mut made = Made::new();
    let mut n = 0;
    let mut paths = Vec::new();
    for segment in segments {
        let mut entries = Vec::new();
        for (early, user, verdict) in segment {
            entries.push(entry(n, (n / 30).saturating_sub(*early), *user, *verdict));
            n += 1;
        }
        paths.push(made.write(&entries));
    }
    paths.iter().take(seal.min(paths.len() - 1)).for_each(|path| made.seal(path));
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_found_is_what_a_naive_reader_finds(
        (segments, seal) in logs(), wanted in prop::collection::vec(wanted(), 1..6), limit in 1usize..500, from in 0u64..900,
    ) {
        let made = make(&segments, seal);
        for wanted in wanted {
            let (filter, expected) = (wanted.filter(), naive(&made.entries, &wanted));
            let mut search = Search::new(made.parts(), &filter);
            prop_assert_eq!(&search.newest(limit).unwrap(), &expected[expected.len().saturating_sub(limit)..]);
            prop_assert!(search.effort().runs_read <= search.effort().runs);
            let mut found = Vec::new();
            Search::new(made.parts(), &filter).each(from, &mut |index, entry, _| -> Result<_, AuditError> {
                found.push((index, entry.to_vec()));
                Ok(ControlFlow::Continue(()))
            }).unwrap();
            prop_assert_eq!(&found, &expected.into_iter().filter(|(index, _)| *index >= from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_sealed_or_pruned_after_it_was_listed_is_read_or_passed_over((segments, seal) in logs(), pruned in 0usize..3) {
        let mut made = make(&segments, 0);
        let written = made.parts();
        let paths: Vec<PathBuf> = segment::list(&made.home().join("wal")).unwrap().into_iter().map(|(_, path)| path).collect();
        paths.iter().take(seal.min(paths.len() - 1)).for_each(|path| made.seal(path));
        let sealed_too = made.parts();
        let gone = sealed::list(&made.home()).unwrap();
        let gone = &gone[..pruned.min(gone.len())];
        for file in gone.iter().flat_map(|segment| segment.files().into_iter().rev()) {
            std::fs::remove_file(file).unwrap();
        }
        let left = gone.last().map_or(0, |last| last.last + 1);
        let all: Vec<Found> = (0..).zip(made.entries.clone()).collect();
        for (parts, left) in [(written, 0), (sealed_too, left)] {
            prop_assert_eq!(&Search::new(parts, &Filter::default()).newest(usize::MAX).unwrap(), &all[left as usize..]);
        }
    }
}

#[test]
fn a_rare_value_is_found_by_reading_one_run() {
    let mut made = Made::new();
    let path = made.write(&(0..5000).map(|n| entry(n, n / 30, if n == 2500 { 77 } else { 1 }, 0)).collect::<Vec<_>>());
    made.write(&[entry(5000, 200, 1, 0)]);
    made.seal(&path);
    let filter = Filter::default().with(Field::User, ["user-77".into()]);
    let mut search = Search::new(made.parts(), &filter);
    assert_eq!(search.newest(10).unwrap(), [(2500, made.entries[2500].clone())]);
    assert_eq!((search.effort().runs_read, search.effort().runs, search.effort().written), (1, 20, 1));
}

#[test]
fn a_record_missing_from_the_middle_is_damage_and_one_being_written_is_the_end() {
    let mut made = Made::new();
    let entries: Vec<Vec<u8>> = (0..20).map(|n| entry(n, n, 0, 0)).collect();
    let (first, second) = (made.write(&entries[..10]), made.write(&entries[10..]));
    for (path, damaged) in [(first, true), (second, false)] {
        let whole = std::fs::read(&path).unwrap();
        let mut cut = whole.clone();
        cut.truncate(whole.len() - 300);
        std::fs::write(&path, cut).unwrap();
        let found = Search::new(made.parts(), &Filter::default()).newest(100);
        match found {
            Err(AuditError::Damaged(damage)) => assert!(damaged && damage.index == 9, "{damage}"),
            Ok(found) => assert!(!damaged && found.len() == 19, "{}", found.len()),
            Err(other) => panic!("{other}"),
        }
        std::fs::write(&path, whole).unwrap();
    }
}
