//! The journal as its users see it: through tickets, files, and the end of a process.

use super::journal::{Journal, JournalSettings, MinFree, Unavailable};
use super::origin::Origin;
use super::record::{About, Client, Completed, Event, Outcome, Received};
use super::scan::{Patience, Scanned, Tail, scan};
use super::segment::{self, Frame, Reader};
use super::{AuditError, writer};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const ORIGIN: &str = "kt/test";

#[tokio::test]
async fn received_is_on_disk_when_it_returns_and_completed_names_it() {
    let (dir, journal) = fresh();
    let mut ticket = journal.admit().await.unwrap();
    let id = ticket.id().to_string();
    ticket.received(Received::default()).await.unwrap();
    assert_eq!(journal.status().durable_index, Some(0));
    assert_eq!(records(dir.path())[0]["id"], id.as_str());
    ticket.complete(success());
    journal.close();
    let records = records(dir.path());
    assert_eq!(kinds(&records), ["llm.request.received", "llm.request.completed"]);
    assert_eq!(records[1]["parent"], id.as_str());
    assert_eq!(records[1]["outcome"], "success");
}

#[tokio::test]
async fn a_refused_exchange_has_one_durable_record_under_its_own_id() {
    let (dir, journal) = fresh();
    let ticket = journal.admit().await.unwrap();
    let id = ticket.id().to_string();
    ticket.refuse(Completed { verdict: "block".into(), outcome: Outcome::Denied, ..Completed::default() }).await.unwrap();
    let records = records(dir.path());
    assert_eq!((kinds(&records), &records[0]["id"]), (vec!["llm.request.completed"], &id.into()));
    assert!(records[0].get("parent").is_none());
    assert_eq!(checked(dir.path()).tally.refused, 1);
}

#[tokio::test]
async fn a_dropped_ticket_says_it_was_interrupted_unless_it_never_began() {
    let (dir, journal) = fresh();
    drop(journal.admit().await.unwrap());
    let mut ticket = journal.admit().await.unwrap();
    ticket.received(Received::default()).await.unwrap();
    drop(ticket);
    journal.close();
    assert_eq!(kinds(&records(dir.path())), ["llm.request.received", "llm.request.interrupted"]);
}

#[tokio::test]
async fn a_disabled_journal_admits_everyone_and_writes_nothing() {
    let journal = Journal::disabled();
    let mut ticket = journal.admit().await.unwrap();
    assert!(!ticket.id().is_nil());
    ticket.received(Received::default()).await.unwrap();
    ticket.complete(success());
    journal.admit().await.unwrap().refuse(success()).await.unwrap();
    journal.note(Event::GatewayStop { reason: "signal".into() });
    journal.close();
    assert_eq!(journal.status().records, 0);
}

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
    assert_eq!(checked(crashed.path()).open.len(), 1);
    reopen(crashed.path()).close();
    let records = records(crashed.path());
    let last = records.last().unwrap();
    assert_eq!((&last["type"], &last["parent"]), (&"llm.request.interrupted".into(), &open.id().to_string().into()));
    let tally = checked(crashed.path()).tally;
    assert_eq!((tally.received, tally.completed, tally.interrupted), (2, 1, 1));
}

#[test]
fn a_second_gateway_is_refused_until_the_first_is_closed() {
    let (dir, journal) = fresh();
    assert!(matches!(Journal::open(dir.path(), ORIGIN, settings()), Err(AuditError::Locked { .. })));
    assert!(Journal::open(dir.path(), "kt/other", settings()).is_ok(), "another origin is another log");
    journal.close();
    reopen(dir.path()).close();
}

#[test]
fn files_are_for_their_owner_alone() {
    let (dir, journal) = fresh();
    block_on(exchange(&journal));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join(ORIGIN)), 0o700);
    assert_eq!(mode(&wal(dir.path())), 0o700);
    assert_eq!(mode(&segment::path(&wal(dir.path()), 0)), 0o600);
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
    assert_eq!((log.next, log.tally.completed, log.open.len()), (900, 450, 0));
    for (_, path) in segment::list(&wal(dir.path())).unwrap().iter().rev().skip(1) {
        let copy = snapshot(dir.path());
        std::fs::remove_file(copy.path().join(path.strip_prefix(dir.path()).unwrap())).unwrap();
        let error = scan(copy.path(), &origin(), Patience::None, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
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
    flip(&segment::path(&wal(dir.path()), 0), places(&segment::path(&wal(dir.path()), 0))[5] + 60, 1);
    match Journal::open(dir.path(), ORIGIN, settings()) {
        Err(AuditError::Damaged(damage)) => assert_eq!(damage.index, 5),
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
        let found = scan(dir.path(), &origin(), Patience::None, &mut |_| {});
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
    let path = segment::path(&wal(dir.path()), 0);
    let places = places(&path);
    let (last, used) = (places[places.len() - 2], *places.last().unwrap());
    let whole = std::fs::read(&path).unwrap();
    for torn in last..used {
        let mut bytes = whole.clone();
        bytes[torn as usize..used as usize].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        let recovered = super::recover::recover(dir.path(), &origin(), segment::MIN_SEGMENT).unwrap();
        assert_eq!((recovered.next, recovered.segment.at), (places.len() as u64 - 2, last), "torn at {torn}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_exchanges_at_once_lose_nothing_and_break_no_link() {
    let (dir, journal) = fresh_with(JournalSettings { max_wait: Duration::from_secs(30), ..settings() });
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    exchange(&journal).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    journal.close();
    let log = checked(dir.path());
    assert_eq!((log.next, log.tally.received, log.tally.completed, log.open.len()), (12_800, 6400, 6400, 0));
    let status = journal.status();
    assert_eq!((status.durable_index, status.queue_bytes, status.lost), (Some(12_799), 0, 0));
    assert!(status.syncs < 12_800, "a sync covers many records: {}", status.syncs);
}

#[tokio::test]
async fn a_full_queue_makes_exchanges_wait_and_then_refuses_them() {
    let (_dir, journal) = fresh_with(JournalSettings { queue_bytes: 16 * 1024, ..settings() });
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(journal.admit().await.unwrap());
    }
    assert_eq!(journal.admit().await.err(), Some(Unavailable::QUEUE_FULL));
    let (next, _) = tokio::join!(journal.admit(), async { drop(held.pop()) });
    assert!(next.is_ok(), "room given back goes to who waits");
    assert_eq!(journal.status().queue_bytes, 16 * 1024);
}

#[test]
fn a_disk_that_hangs_is_reported_within_the_wait() {
    let hung = Arc::new(std::sync::Mutex::new(()));
    let guard = hung.lock().unwrap();
    let gate = hung.clone();
    let (dir, journal) = fresh_on(settings(), Arc::new(move |_| Ok(drop(gate.lock()))));
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
fn a_journal_that_fails_open_records_what_it_let_pass() {
    let (dir, journal) = fresh_with(JournalSettings { queue_bytes: 4096, immutable: false, ..settings() });
    block_on(async {
        let held = journal.admit().await.unwrap();
        for _ in 0..3 {
            let mut passed = journal.admit().await.unwrap();
            passed.received(Received::default()).await.unwrap();
            passed.complete(success());
        }
        held.complete(success());
    });
    assert_eq!(journal.status().lost, 3);
    journal.close();
    let records = records(dir.path());
    let gap = records.iter().find(|record| record["type"] == "audit.gap").unwrap();
    assert_eq!((&gap["count"], &gap["reason"]), (&3.into(), &Unavailable::QUEUE_FULL.0.into()));
    assert_eq!(checked(dir.path()).tally.gaps, 1);
}

#[test]
fn a_failed_sync_moves_what_is_not_acknowledged_to_a_new_segment() {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let fails_once: writer::Sync = Arc::new(move |file| match counter.fetch_add(1, Ordering::Relaxed) {
        1 => Err(std::io::Error::from_raw_os_error(5)),
        _ => file.sync_data(),
    });
    let (dir, journal) = fresh_on(JournalSettings { max_wait: Duration::from_secs(10), ..settings() }, fails_once);
    block_on(async {
        for _ in 0..10 {
            exchange(&journal).await;
        }
    });
    journal.close();
    let log = checked(dir.path());
    assert_eq!((log.segments, log.next, log.tally.completed), (2, 20, 10));
    assert_eq!(journal.status().lost, 0);
}

#[test]
fn a_second_failure_in_a_row_shuts_the_journal_and_tells_those_who_wait() {
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
fn too_little_free_space_refuses_new_exchanges_only() {
    let min_free = MinFree { bytes: 0, percent: 101.0 };
    let (_dir, journal) = fresh_with(JournalSettings { min_free, ..settings() });
    while journal.status().admitting {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(block_on(journal.admit()).err(), Some(Unavailable::DISK_FULL));
}

#[test]
fn a_record_too_large_for_the_format_is_cut_not_lost() {
    let (dir, journal) = fresh();
    block_on(async {
        let client = Client { ip: None, user_agent: Some("x".repeat(300_000)) };
        let about = About { client, ..About::default() };
        journal.admit().await.unwrap().refuse(Completed { about, ..Completed::default() }).await.unwrap();
    });
    assert!(records(dir.path())[0]["cut"]["from_bytes"].as_u64().unwrap() > 300_000);
}

fn settings() -> JournalSettings {
    JournalSettings {
        max_wait: Duration::from_millis(100),
        min_free: MinFree { bytes: 0, percent: 0.0 },
        segment_bytes: segment::MIN_SEGMENT,
        queue_bytes: 8 << 20,
        ..JournalSettings::default()
    }
}

fn fresh() -> (TempDir, Journal) {
    // Other tests share the disk: patience is not what these measure.
    fresh_with(JournalSettings { max_wait: Duration::from_secs(30), ..settings() })
}

fn fresh_with(settings: JournalSettings) -> (TempDir, Journal) {
    fresh_on(settings, Arc::new(File::sync_data))
}

fn fresh_on(settings: JournalSettings, sync: writer::Sync) -> (TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open_with(dir.path(), ORIGIN, settings, sync).unwrap();
    (dir, journal)
}

fn reopen(dir: &Path) -> Journal {
    Journal::open(dir, ORIGIN, JournalSettings { max_wait: Duration::from_secs(30), ..settings() }).unwrap()
}

async fn exchange(journal: &Journal) {
    let mut ticket = journal.admit().await.unwrap();
    ticket.received(Received::default()).await.unwrap();
    ticket.complete(success());
}

fn success() -> Completed {
    Completed { outcome: Outcome::Success, verdict: "allow".into(), http_status: Some(200), ..Completed::default() }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn origin() -> Origin {
    Origin::parse(ORIGIN).unwrap()
}

fn wal(dir: &Path) -> PathBuf {
    dir.join(ORIGIN).join("wal")
}

/// What a crash would leave: the files as they are now.
fn snapshot(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(wal(copy.path())).unwrap();
    for (first, path) in segment::list(&wal(dir)).unwrap() {
        std::fs::copy(path, segment::path(&wal(copy.path()), first)).unwrap();
    }
    copy
}

fn checked(dir: &Path) -> Scanned {
    let log = scan(dir, &origin(), Patience::LookAgain, &mut |_| {}).unwrap();
    assert_eq!(log.tail, Tail::Clean);
    log
}

fn records(dir: &Path) -> Vec<serde_json::Value> {
    let mut records = Vec::new();
    for (_, path) in segment::list(&wal(dir)).unwrap() {
        let (mut reader, _) = Reader::open(&path).unwrap().unwrap();
        while let Frame::Whole { .. } = reader.advance().unwrap() {
            records.push(serde_json::from_slice(reader.entry()).unwrap());
        }
    }
    records
}

fn kinds(records: &[serde_json::Value]) -> Vec<&str> {
    records.iter().filter_map(|record| record["type"].as_str()).collect()
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
