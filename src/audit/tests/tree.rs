//! What a log proves: sealed segments, checkpoints, epochs, retention and holds.

use super::super::checkpoints;
use super::super::holds::{self, Hold};
use super::super::inbox::{self, Access, Action};
use super::super::merkle::{Frontier, Nodes, inclusion_proof, leaf_hash, verify_inclusion};
use super::super::tree::LogTree;
use super::super::verify::{Trust, Verified, verify};
use super::*;
use std::time::Instant;

/// A closed log of many segments, every one sealed but the last.
fn long() -> TempDir {
    let (dir, journal) = fresh();
    block_on(async {
        for _ in 0..500 {
            exchange(&journal).await;
        }
    });
    journal.close();
    // What the first process had no time for, the next one does: each start seals what is signed.
    while segment::list(&wal(dir.path())).unwrap().len() > 1 {
        let journal = reopen(dir.path());
        let before = Instant::now();
        while segment::list(&wal(dir.path())).unwrap().len() > 1 && before.elapsed() < Duration::from_secs(2) {
            std::thread::yield_now();
        }
        journal.close();
    }
    dir
}

fn verified(dir: &Path) -> Result<Verified, AuditError> {
    verify(dir, &origin(), &Trust::default(), &mut |_| {})
}

fn damage(dir: &Path) -> (u64, String) {
    match verified(dir) {
        Err(AuditError::Damaged(damage)) => (damage.index, damage.what),
        Err(other) => panic!("{other}"),
        Ok(log) => panic!("{} records pass", log.log.tree.size()),
    }
}

#[test]
fn sealing_loses_no_record_and_every_one_can_be_proved() {
    let dir = long();
    let sealed = sealed::list(&dir.path().join(ORIGIN)).unwrap();
    assert!(sealed.len() > 1, "{}", sealed.len());
    let log = verified(dir.path()).unwrap();
    let (size, tally) = (log.log.tree.size(), log.log.books.tally);
    assert_eq!((size, tally.received, tally.completed), (1000, 500, 500));
    assert_eq!((log.signed, log.log.books.open.len()), (1000, 0));
    let records = entries(dir.path());
    let tree = LogTree::open(dir.path(), &origin()).unwrap();
    assert_eq!((tree.size(), tree.first()), (1000, 0));
    let root = log.log.tree.root();
    let mut leaves = Frontier::new();
    for (index, record) in records.iter().enumerate() {
        let proof = inclusion_proof(&tree, index as u64, size).unwrap();
        verify_inclusion(&leaf_hash(record), index as u64, size, &proof, &root).unwrap();
        leaves.push(leaf_hash(record));
        assert_eq!(tree.frontier(leaves.size()).unwrap(), leaves);
    }
}

#[test]
fn whoever_changes_a_record_and_all_that_the_host_holds_beside_it_is_found_by_the_signature() {
    let dir = long();
    // A record of the WAL is rewritten with a matching leaf and checksum.
    let (first, path) = segment::list(&wal(dir.path())).unwrap().remove(0);
    let bytes = std::fs::read(&path).unwrap();
    let (mut reader, _) = Reader::open(&path).unwrap().unwrap();
    reader.advance().unwrap();
    let entry = String::from_utf8(reader.entry().to_vec()).unwrap();
    let forged = entry.replacen("\"verdict\":\"allow\"", "\"verdict\":\"block\"", 1).replacen("kt.audit", "kt.audiT", 1);
    assert!(forged != entry && forged.len() == entry.len());
    let mut frame = Vec::new();
    segment::put_frame(&mut frame, &leaf_hash(forged.as_bytes()), forged.as_bytes());
    let mut changed = bytes.clone();
    changed[segment::HEADER_BYTES..segment::HEADER_BYTES + frame.len()].copy_from_slice(&frame);
    std::fs::write(&path, changed).unwrap();
    let (index, what) = damage(dir.path());
    assert!(index <= first && what.contains("not what was signed"), "{index} {what}");
    std::fs::write(&path, bytes).unwrap();
    verified(dir.path()).unwrap();
}

#[test]
fn a_log_cut_below_its_checkpoint_is_damaged_and_a_new_epoch_begins() {
    let dir = long();
    let (_, path) = segment::list(&wal(dir.path())).unwrap().remove(0);
    let bytes = std::fs::read(&path).unwrap();
    let (mut reader, header) = Reader::open(&path).unwrap().unwrap();
    reader.advance().unwrap();
    let keep = reader.at() as usize;
    let mut cut = bytes[..keep].to_vec();
    cut.resize(bytes.len(), 0);
    std::fs::write(&path, cut).unwrap();
    let left = header.before.size() + 1;
    let (index, what) = damage(dir.path());
    assert_eq!(index, left);
    assert!(what.contains("missing"), "{what}");
    let journal = reopen(dir.path());
    assert_eq!(journal.origin().unwrap().as_str(), "kt/test.e2");
    block_on(exchange(&journal));
    journal.close();
    let second = Origin::parse("kt/test.e2").unwrap();
    let log = verify(dir.path(), &second, &Trust::default(), &mut |_| {}).unwrap();
    assert_eq!((log.log.tree.size(), log.log.books.tally.completed), (3, 1));
    let first = std::fs::read(segment::path(&second.below(dir.path()).join("wal"), 0)).unwrap();
    let first = String::from_utf8_lossy(&first[segment::HEADER_BYTES..segment::HEADER_BYTES + 2000]).into_owned();
    assert!(first.contains("\"type\":\"audit.epoch\"") && first.contains("\"previous\":\"kt/test\""), "{first}");
    // The next start goes on with the newest epoch.
    let journal = reopen(dir.path());
    assert_eq!(journal.origin().unwrap().as_str(), "kt/test.e2");
    journal.close();
}

#[test]
fn a_checkpoint_kept_elsewhere_finds_a_history_that_was_rewritten_whole() {
    let (dir, other) = (long(), long());
    let note = checkpoints::newest(&dir.path().join(ORIGIN)).unwrap().unwrap();
    // The other log is intact by itself: another history, signed by another key.
    assert!(verified(other.path()).is_ok());
    let trust = Trust { anchored: vec![("anchor".into(), note.clone())], ..Trust::default() };
    let found = verify(other.path(), &origin(), &trust, &mut |_| {});
    assert!(matches!(found, Err(AuditError::Damaged(_))), "{:?}", found.map(|log| log.signed));
    let found = verify(dir.path(), &origin(), &trust, &mut |_| {}).unwrap();
    assert_eq!(found.anchored, 1);
}

#[test]
fn an_index_changed_by_hand_is_found() {
    let dir = long();
    let segment = sealed::list(&dir.path().join(ORIGIN)).unwrap().remove(1);
    for (place, file) in segment.files().iter().enumerate() {
        let bytes = std::fs::read(file).unwrap();
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        std::fs::write(file, changed).unwrap();
        let (index, what) = damage(dir.path());
        assert!((segment.first..=segment.last).contains(&index), "{place}: {index} {what}");
        std::fs::write(file, bytes).unwrap();
    }
    verified(dir.path()).unwrap();
}

#[test]
fn what_is_too_old_is_pruned_by_whole_segments_and_the_rest_is_still_proved() {
    let dir = long();
    let home = dir.path().join(ORIGIN);
    let before = sealed::list(&home).unwrap();
    holds::put(&home, &Hold { name: "case-1".into(), reason: "asked by counsel".into(), from: None, to: None }).unwrap();
    let prune = |retention| {
        let journal = Journal::open(dir.path(), ORIGIN, JournalSettings { retention, ..settings() }).unwrap();
        let looked = Instant::now();
        while looked.elapsed() < Duration::from_millis(300) {
            std::thread::yield_now();
        }
        journal.close();
    };
    prune(Duration::ZERO);
    assert_eq!(sealed::list(&home).unwrap().len(), before.len(), "a legal hold keeps what is too old");
    assert!(holds::lift(&home, "case-1").unwrap());
    prune(Duration::from_secs(3600));
    assert_eq!(sealed::list(&home).unwrap().len(), before.len(), "nothing is that old");
    prune(Duration::ZERO);
    let left = sealed::list(&home).unwrap();
    let first = left.first().unwrap().first;
    assert!(first > 0, "nothing was pruned");
    let log = verified(dir.path()).unwrap();
    assert_eq!((log.log.first, log.log.books.pruned), (first, first));
    let tally = log.log.books.tally;
    assert_eq!(tally.inherited + tally.received, tally.completed + tally.interrupted + log.log.books.open.len() as u64);
    let tree = LogTree::open(dir.path(), &origin()).unwrap();
    let (size, root) = (log.log.tree.size(), log.log.tree.root());
    for (index, record) in (first..).zip(entries(dir.path())) {
        let proof = inclusion_proof(&tree, index, size).unwrap();
        verify_inclusion(&leaf_hash(&record), index, size, &proof, &root).unwrap();
    }
    assert_eq!(tree.edge().unwrap().size(), first);
    assert!(matches!(tree.node(0, 0), Err(AuditError::Pruned { .. })));
    // Hands that delete more than retention did are found.
    left[0].files().iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let (index, what) = damage(dir.path());
    assert_eq!(index, first);
    assert!(what.contains("no record says"), "{what}");
}

#[test]
fn a_reading_left_in_the_inbox_becomes_a_record() {
    let (dir, journal) = fresh();
    let home = dir.path().join(ORIGIN);
    assert!(inbox::is_open(&home));
    let access = Access {
        action: Action::Verify,
        user: "auditor".into(),
        at: "2026-01-01T00:00:00.000000000Z".into(),
        what: "verify".into(),
        records: None,
    };
    std::fs::write(home.join("inbox/0.json"), "{}").unwrap();
    inbox::leave(&home, &access).unwrap();
    let waiting = || {
        let files = std::fs::read_dir(home.join("inbox")).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "json")).count()
    };
    let waited = Instant::now();
    while waiting() > 0 && waited.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
    journal.close();
    let records = records(dir.path());
    assert_eq!(kinds(&records), ["audit.verify"]);
    assert_eq!(records[0]["user"], "auditor");
    let left: Vec<_> = std::fs::read_dir(home.join("inbox")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["0.unread"]);
}
