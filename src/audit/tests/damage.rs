//! What breaks: bytes, files, disks and processes.

use super::super::journal::{Journal, JournalSettings, MinFree, Unavailable};
use super::super::note::Signer;
use super::super::record::Received;
use super::super::scan::{Patience, Scanned, Tail};
use super::super::segment::{self, Frame, Reader};
use super::super::tail::Follower;
use super::super::verify::{Trust, verify};
use super::super::{AuditError, recover, writer};
use super::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[test]
fn a_crash_leaves_orphans_that_the_next_start_ends() {
    let (dir, journal) = fresh();
    let open = block_on(async {
        let mut open = journal.admit().await.unwrap();
        open.received(Received::default()).await.unwrap();
        exchange(&journal).await;
        // Completing does not wait; what comes after it and does, waits for both.
        journal.admit().await.unwrap().refuse(success()).await.unwrap();
        open
    });
    let crashed = snapshot(dir.path());
    assert_eq!(checked(crashed.path()).books.open.len(), 1);
    reopen(crashed.path()).close();
    let records = records(crashed.path());
    let last = records.last().unwrap();
    assert_eq!((&last["type"], &last["parent"]), (&"llm.request.interrupted".into(), &open.id().to_string().into()));
    let tally = checked(crashed.path()).books.tally;
    assert_eq!((tally.received, tally.completed, tally.interrupted), (2, 1, 1));
}

#[test]
fn segments_rotate_and_the_chain_goes_through_them() {
    let (dir, journal) = fresh();
    block_on(async {
        for _ in 0..450 {
            exchange(&journal).await;
        }
    });
    journal.close();
    let log = checked(dir.path());
    assert!(log.segments > 2, "{}", log.segments);
    assert_eq!((log.tree.size(), log.books.tally.completed, log.books.open.len()), (900, 450, 0));
    for path in files(dir.path()).iter().rev().skip(1) {
        let copy = snapshot(dir.path());
        std::fs::remove_file(copy.path().join(path.strip_prefix(dir.path()).unwrap())).unwrap();
        let error = verify(copy.path(), &origin(), &Trust::default(), &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("missing") || error.contains("No such file") || error.contains("not open"), "{error}");
    }
}

#[test]
fn damage_before_the_last_segment_stops_the_start_with_its_index() {
    let (dir, journal) = fresh();
    block_on(async {
        for _ in 0..300 {
            exchange(&journal).await;
        }
    });
    journal.close();
    let copy = snapshot(dir.path());
    let (first, path) = segment::list(&wal(copy.path())).unwrap().remove(0);
    if segment::list(&wal(copy.path())).unwrap().len() < 2 {
        // All but the last are sealed already: then it is the index that stops the start.
        let last = sealed::list(&copy.path().join(ORIGIN)).unwrap().pop().unwrap();
        flip(&last.files()[2], 100, 1);
        assert!(Journal::open(copy.path(), ORIGIN, settings()).is_err());
        return;
    }
    flip(&path, places(&path)[5] + 60, 1);
    let dir = copy;
    match Journal::open(dir.path(), ORIGIN, settings()) {
        Err(AuditError::Damaged(damage)) => assert_eq!(damage.index, first + 5),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn flipping_any_byte_fails_verify_at_that_index() {
    let (dir, journal) = fresh();
    block_on(async {
        for _ in 0..40 {
            exchange(&journal).await;
        }
    });
    journal.close();
    let path = segment::path(&wal(dir.path()), 0);
    let places = places(&path);
    let used = *places.last().unwrap();
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let strategy = (0..used, 1u8..);
    let outcome = runner.run(&strategy, |(place, mask)| {
        flip(&path, place, mask);
        let found = scanned(dir.path(), Patience::None);
        let mut byte = [0];
        File::open(&path).unwrap().read_exact_at(&mut byte, place).unwrap();
        flip(&path, place, mask);
        // The one change that no reader can tell from a write cut short: the very last byte turned into a zero.
        prop_assume!(place + 1 != used || byte[0] != 0);
        let expected = places.iter().rposition(|begin| *begin <= place).unwrap_or(0) as u64;
        match found {
            Err(AuditError::Damaged(damage)) => prop_assert_eq!(damage.index, expected),
            Ok(Scanned { tail: Tail::Torn(damage), .. }) => prop_assert_eq!(damage.index, expected),
            other => prop_assert!(false, "byte {} passed: {:?}", place, other.map(|log| log.tail)),
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_tail_torn_at_any_byte_leaves_every_record_before_it() {
    let (dir, journal) = fresh();
    block_on(async {
        for _ in 0..2 {
            exchange(&journal).await;
        }
    });
    journal.close();
    // What is torn here was never signed.
    let home = dir.path().join(ORIGIN);
    std::fs::remove_file(super::super::checkpoints::newest_path(&home)).unwrap();
    std::fs::remove_dir_all(home.join("checkpoints")).unwrap();
    let path = segment::path(&wal(dir.path()), 0);
    let places = places(&path);
    let (last, used) = (places[places.len() - 2], *places.last().unwrap());
    let mut whole = std::fs::read(&path).unwrap();
    whole.truncate(used as usize + 1024);
    for torn in last..used {
        let mut bytes = whole.clone();
        bytes[torn as usize..used as usize].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        let recovered =
            recover::recover(dir.path(), &origin(), segment::MIN_SEGMENT, &|_, name| Signer::from_seed(name, &[7; 32])).unwrap();
        assert_eq!((recovered.tree.size(), recovered.segment.at), (places.len() as u64 - 2, last), "torn at {torn}");
        assert_eq!(recovered.orphans.len(), 1);
        assert_eq!(recovered.cut.is_some(), torn > last);
        assert!(std::fs::read(&path).unwrap()[last as usize..].iter().all(|byte| *byte == 0));
    }
    std::fs::write(&path, &whole[..used as usize - 3]).unwrap();
    let journal = reopen(dir.path());
    block_on(exchange(&journal));
    journal.close();
    let records = records(dir.path());
    let kinds = kinds(&records);
    assert_eq!(kinds[3..5], ["audit.gap", "llm.request.interrupted"]);
    assert_eq!(records[3]["reason"], "torn_tail");
}

#[test]
fn a_disk_that_hangs_is_reported_within_the_wait() {
    let hung = Arc::new(std::sync::Mutex::new(()));
    let guard = hung.lock().unwrap();
    let gate = hung.clone();
    let (dir, journal) = fresh_on(
        settings(),
        Arc::new(move |file| {
            drop(gate.lock());
            file.sync_data()
        }),
    );
    let ticket = block_on(async {
        let mut ticket = journal.admit().await.unwrap();
        assert_eq!(ticket.received(Received::default()).await, Err(Unavailable::DISK_SLOW));
        ticket
    });
    drop(guard);
    drop(ticket);
    journal.close();
    assert_eq!(kinds(&records(dir.path())), ["llm.request.received", "llm.request.interrupted"]);
}

#[test]
fn a_failed_sync_moves_what_is_not_acknowledged_to_a_new_segment() {
    // A failure before anything is durable puts the new segment in the old one's place.
    for (failing, segments) in [(0, 1), (1, 2), (7, 2)] {
        let calls = AtomicU32::new(0);
        let fails_once: writer::Sync = Arc::new(move |file| match calls.fetch_add(1, Ordering::Relaxed) {
            call if call == failing => Err(std::io::Error::from_raw_os_error(5)),
            _ => file.sync_data(),
        });
        let (dir, journal) = fresh_on(JournalSettings { max_wait: Duration::from_secs(30), ..settings() }, fails_once);
        let (mut follower, none) = Follower::new(dir.path(), &origin(), 5).unwrap();
        assert!(none.is_empty());
        let mut told = 0;
        block_on(async {
            for _ in 0..10 {
                exchange(&journal).await;
                told += follower.news().unwrap().len();
            }
        });
        journal.close();
        let log = checked(dir.path());
        assert_eq!((log.segments, log.tree.size(), log.books.tally.completed), (segments, 20, 10));
        assert_eq!(told + follower.news().unwrap().len(), 20, "a follower is told each record once");
        assert_eq!(journal.status().lost, 0);
    }
}

#[test]
fn a_second_failure_in_a_row_suspends_the_journal_and_tells_those_who_wait() {
    let broken: writer::Sync = Arc::new(|_| Err(std::io::Error::from_raw_os_error(5)));
    let (_dir, journal) = fresh_on(JournalSettings { max_wait: Duration::from_secs(10), ..settings() }, broken);
    block_on(async {
        let mut ticket = journal.admit().await.unwrap();
        assert_eq!(ticket.received(Received::default()).await, Err(Unavailable::WRITE_FAILED));
        assert_eq!(journal.admit().await.err(), Some(Unavailable::WRITE_FAILED));
        assert!(!journal.status().admitting);
    });
    journal.close();
}

#[test]
fn a_disk_that_is_well_again_is_written_again_and_nothing_acknowledged_is_missing() {
    for immutable in [true, false] {
        let well = Arc::new(AtomicBool::new(true));
        let disk = well.clone();
        let sync: writer::Sync = Arc::new(move |file| match disk.load(Ordering::Relaxed) {
            true => file.sync_data(),
            false => Err(std::io::Error::from_raw_os_error(5)),
        });
        let (dir, journal) = fresh_on(JournalSettings { max_wait: Duration::from_secs(10), immutable, ..settings() }, sync);
        block_on(async {
            exchange(&journal).await;
            let mut running = journal.admit().await.unwrap();
            running.received(Received::default()).await.unwrap();
            well.store(false, Ordering::Relaxed);
            let mut late = journal.admit().await.unwrap();
            assert_eq!(late.received(Received::default()).await.is_err(), immutable);
            while journal.status().admitting {
                std::thread::yield_now();
            }
            assert_eq!(journal.admit().await.is_err(), immutable, "a journal that fails open lets pass what it cannot record");
            // What was admitted is kept until then.
            running.complete(success());
            well.store(true, Ordering::Relaxed);
            while !journal.status().admitting {
                std::thread::yield_now();
            }
            exchange(&journal).await;
            drop(late);
        });
        journal.close();
        let log = checked(dir.path());
        let tally = log.books.tally;
        assert_eq!((tally.received, tally.completed, tally.interrupted), (4, 3, 1));
        assert_eq!(tally.gaps, u64::from(!immutable), "what passed unrecorded is told");
        assert!(verify(dir.path(), &origin(), &Trust::default(), &mut |_| {}).is_ok());
    }
}

#[test]
fn too_little_free_space_refuses_new_exchanges_only() {
    let min_free = MinFree { bytes: 0, percent: 101.0 };
    let (_dir, journal) = fresh_with(JournalSettings { min_free, ..settings() });
    while journal.status().admitting {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(block_on(journal.admit()).err(), Some(Unavailable::DISK_FULL));
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    const DIR: &str = "KT_TEST_KILLED_CHILD";
    if let Some(dir) = std::env::var_os(DIR) {
        let journal = reopen(Path::new(&dir));
        block_on(async {
            loop {
                let mut ticket = journal.admit().await.unwrap();
                ticket.received(Received::default()).await.unwrap();
                eprintln!("ack {}", ticket.id());
                ticket.complete(success());
            }
        });
    }
    let dir = scratch();
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "audit::tests::damage::what_was_acknowledged_survives_kill_9"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut acknowledged: Vec<String> = Vec::new();
        for line in lines.map_while(Result::ok) {
            acknowledged.extend(line.strip_prefix("ack ").map(Into::into));
            if acknowledged.len() == 200 + round * 37 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= 200);
        reopen(dir.path()).close();
        let records = records(dir.path());
        let written: HashSet<&str> = records.iter().filter_map(|record| record["id"].as_str()).collect();
        assert!(acknowledged.iter().all(|id| written.contains(id.as_str())));
        assert!(checked(dir.path()).books.open.is_empty());
    }
}

/// Where each frame of a segment begins, and where the last one ends.
fn places(path: &Path) -> Vec<u64> {
    let (mut reader, _) = Reader::open(path).unwrap().unwrap();
    let mut places = vec![reader.at()];
    while let Frame::Whole { .. } = reader.advance().unwrap() {
        places.push(reader.at());
    }
    places
}

fn flip(path: &Path, place: u64, mask: u8) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ mask], place).unwrap();
}
