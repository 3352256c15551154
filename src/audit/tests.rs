//! The journal as its users see it: through tickets, files, and the end of a process.

use super::journal::{Journal, JournalSettings, MinFree, Unavailable};
use super::origin::Origin;
use super::record::{About, Client, Completed, Event, Outcome, Received};
use super::scan::{Begin, Look, Patience, Scanned, Tail};
use super::segment::{self, Frame, Reader};
use super::{AuditError, sealed, writer};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

mod damage;
mod tree;

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
    assert_eq!(checked(dir.path()).books.tally.refused, 1);
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
    let mut reads = 0;
    while reads < 8 && tasks.iter().any(|task| !task.is_finished()) {
        let path = dir.path().to_path_buf();
        let log = tokio::task::spawn_blocking(move || scanned(&path, Patience::LookAgain)).await.unwrap();
        assert!(!matches!(log.unwrap().tail, Tail::Torn(_)), "a reader beside the writer sees no damage");
        reads += 1;
    }
    assert!(reads > 0);
    for task in tasks {
        task.await.unwrap();
    }
    journal.close();
    let log = checked(dir.path());
    assert_eq!(
        (log.tree.size(), log.books.tally.received, log.books.tally.completed, log.books.open.len()),
        (12_800, 6400, 6400, 0)
    );
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
    assert_eq!(checked(dir.path()).books.tally.gaps, 1);
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
    let dir = scratch();
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

/// In memory where the system has that: hundreds of syncs then take no time.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What a crash would leave: the files as they are now, but for the signature.
fn snapshot(dir: &Path) -> TempDir {
    let copy = scratch();
    for path in files(dir) {
        let to = copy.path().join(path.strip_prefix(dir).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    }
    copy
}

/// The files that hold records, and those beside them.
fn files(dir: &Path) -> Vec<PathBuf> {
    let sealed = sealed::list(&dir.join(ORIGIN)).unwrap();
    let sealed = sealed.iter().flat_map(|segment| segment.files());
    sealed.chain(segment::list(&wal(dir)).unwrap().into_iter().map(|(_, path)| path)).collect()
}

fn scanned(dir: &Path, patience: Patience) -> Result<Scanned, AuditError> {
    let look = Look { begin: Begin::First, patience, roots_at: Default::default() };
    super::scan::scan(dir, &origin(), &look, &mut |_| {})
}

fn checked(dir: &Path) -> Scanned {
    let log = scanned(dir, Patience::LookAgain).unwrap();
    assert_eq!(log.tail, Tail::Clean);
    log
}

fn records(dir: &Path) -> Vec<serde_json::Value> {
    entries(dir).iter().map(|entry| serde_json::from_slice(entry).unwrap()).collect()
}

fn entries(dir: &Path) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for segment in sealed::list(&dir.join(ORIGIN)).unwrap() {
        let mut reader = sealed::entries::Reader::open(&segment).unwrap();
        for run in sealed::index::Index::read(&segment).unwrap().runs {
            entries.extend(reader.run(run.place).unwrap().map(<[u8]>::to_vec));
        }
    }
    for (_, path) in segment::list(&wal(dir)).unwrap() {
        let (mut reader, _) = Reader::open(&path).unwrap().unwrap();
        while let Frame::Whole { .. } = reader.advance().unwrap() {
            entries.push(reader.entry().to_vec());
        }
    }
    entries
}

fn kinds(records: &[serde_json::Value]) -> Vec<&str> {
    records.iter().filter_map(|record| record["type"].as_str()).collect()
}
