//! Whatever fails and whenever, a sink ends up with every record of the log, byte for byte, without a gap.
//!
//! The stream is a real NATS server and the store a real S3 server, both started here. Where they are not installed their cases
//! are skipped and say so; with `KT_SINKS=required` in the environment that is a failure.

#[path = "sinks/bucket.rs"]
mod bucket;
#[path = "sinks/collector.rs"]
mod collector;
#[path = "sinks/gate.rs"]
mod gate;
#[path = "sinks/identity.rs"]
mod identity;
#[path = "sinks/stream.rs"]
mod stream;

use crate::support::{Gateway, Origin, Run};
use bucket::Bucket;
use collector::{Collector, Mood};
use identity::Identity;
use kt::audit::read::Cursor;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use stream::Stream;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// The far end of a sink.
trait Receiver {
    /// The item of `sinks:`, as YAML on one line.
    fn config(&self) -> String;
    /// Can be reached from now on.
    async fn up(&mut self);
    /// Breaks every connection, and is gone.
    async fn down(&mut self);
    /// All that came: the index and the bytes of each entry.
    async fn arrivals(&mut self) -> Vec<(u64, Vec<u8>)>;
}

/// A far end that keeps bundles as they come.
trait Archive: Receiver {
    /// First and last index of each bundle, in order.
    async fn ranges(&self) -> Vec<(u64, u64)>;
}

/// Whether a server is installed; said aloud when not, and a failure where it must be.
fn installed(what: &str, there: bool) -> bool {
    let required = std::env::var("KT_SINKS").is_ok_and(|value| value == "required");
    assert!(there || !required, "{what} is not installed, and KT_SINKS=required");
    if !there {
        eprintln!("skipped: {what} is not installed");
    }
    there
}

fn run(origin: &Origin, audit_logger: &str) -> Run {
    Run::chain("audit-logger", &[origin.url()])
        .with(&format!("policy:\n  audit-logger:\n    max_wait_ms: 15000\n{audit_logger}"))
        .env("STORE_KEY_ID", "AKIAEXAMPLE")
        .env("STORE_KEY", "an-example-of-a-key")
        .env("COLLECTOR_KEY", "Basic an-example-of-a-key")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("RUST_LOG", "kt=debug")
}

async fn ask(gateway: &Gateway, times: usize) {
    for n in 0..times {
        assert_eq!(gateway.chat(&format!("question {n}")).send().await.unwrap().status(), 200);
    }
}

async fn until(what: &str, gateway: &Gateway, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}:\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the sink has every record that is durable.
async fn delivered(gateway: &Gateway) {
    until("everything is delivered", gateway, async || {
        let durable = gateway.metric("keeptrusts_audit_durable_index", &[]).await;
        let lag = gateway.metric("keeptrusts_audit_sink_lag_records", &["sink=\"far\""]).await;
        let index = gateway.metric("keeptrusts_audit_sink_index", &["sink=\"far\""]).await;
        lag == 0.0 && index >= durable && durable > 0.0
    })
    .await;
}

/// Each log in its own order. Together they are what `kt audit tail` prints in the order of time.
fn logs_of(dir: &Path) -> BTreeMap<String, Vec<Vec<u8>>> {
    let tail = Command::new(env!("CARGO_BIN_EXE_kt"))
        .args(["audit", "tail", "--json", "-n", "1000000", "--audit-dir", "audit"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(tail.status.success());
    let mut logs = BTreeMap::new();
    for origin in kt::audit::Origin::all_below(&dir.join("audit")) {
        let mut log = Vec::new();
        let mut cursor = Cursor::open(&dir.join("audit"), &origin, 0);
        cursor.read(u64::MAX, usize::MAX, &mut |_, entry| log.push(entry.to_vec())).unwrap();
        logs.insert(origin.to_string(), log);
    }
    let mut told: Vec<&[u8]> = tail.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut read: Vec<&[u8]> = logs.values().flatten().map(Vec::as_slice).collect();
    told.sort_unstable();
    read.sort_unstable();
    assert_eq!(told, read);
    logs
}

/// The only log.
fn log_of(dir: &Path) -> Vec<Vec<u8>> {
    let logs = logs_of(dir);
    assert_eq!(logs.len(), 1);
    logs.into_values().next().unwrap()
}

/// Every index from 0 on is there, and each entry is that of the log; the same one may have come twice.
fn assert_complete(arrivals: Vec<(u64, Vec<u8>)>, log: &[Vec<u8>]) {
    let mut held: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for (index, entry) in arrivals {
        if let Some(before) = held.insert(index, entry.clone()) {
            assert_eq!(before, entry, "two entries with index {index}");
        }
    }
    let indices: Vec<u64> = held.keys().copied().collect();
    assert_eq!(indices, (0..log.len() as u64).collect::<Vec<_>>());
    for (index, entry) in held {
        assert_eq!(String::from_utf8_lossy(&entry), String::from_utf8_lossy(&log[index as usize]), "entry {index}");
    }
}

/// A sink that is down at the start, goes away and comes back, and a gateway that is killed in the middle of it all.
async fn survives(receiver: &mut impl Receiver) {
    let origin = Origin::start().await.chat("ok");
    let run = || run(&origin, &format!("    sinks: [{}]\n", receiver.config()));
    let gateway = run().start().await;
    ask(&gateway, 4).await;
    until("it is noticed", &gateway, async || {
        gateway.metric("keeptrusts_audit_sink_failures_total", &["sink=\"far\""]).await > 0.0
    })
    .await;
    let second = run();
    receiver.up().await;
    delivered(&gateway).await;
    ask(&gateway, 4).await;
    receiver.down().await;
    ask(&gateway, 4).await;
    gateway.signal("KILL");
    let (_, dir) = gateway.ended().await;
    let gateway = second.start_in(dir).await;
    ask(&gateway, 4).await;
    receiver.up().await;
    for _ in 0..3 {
        ask(&gateway, 4).await;
        receiver.down().await;
        ask(&gateway, 1).await;
        receiver.up().await;
    }
    delivered(&gateway).await;
    ask(&gateway, 3).await;
    gateway.signal("TERM");
    let (code, dir) = gateway.ended().await;
    assert_eq!(code, Some(0));
    let log = log_of(dir.path());
    assert!(String::from_utf8_lossy(log.last().unwrap()).contains("gateway.stop"));
    assert_complete(receiver.arrivals().await, &log);
}

/// After all that: a gateway that died between the delivery of a bundle and writing it down, and one whose bookmark is lost.
async fn keeps_one_of_each(archive: &mut impl Archive) {
    let origin = Origin::start().await.chat("ok");
    let run = || run(&origin, &format!("    sinks: [{}]\n", archive.config()));
    let (mut gateway, again) = (run().start().await, [run(), run()]);
    for (run, lost) in again.into_iter().zip([false, true]) {
        ask(&gateway, 2).await;
        delivered(&gateway).await;
        gateway.signal("KILL");
        let (_, stopped) = gateway.ended().await;
        let log = std::fs::read_dir(stopped.path().join("audit/kt")).unwrap().next().unwrap().unwrap().path();
        let bookmark = log.join("sinks/far.cursor");
        let (first, last) = *archive.ranges().await.last().unwrap();
        match lost {
            true => std::fs::remove_file(bookmark).unwrap(),
            false => std::fs::write(bookmark, format!("next {first}\nsending {last}\n")).unwrap(),
        }
        gateway = run.start_in(stopped).await;
        delivered(&gateway).await;
    }
    gateway.signal("TERM");
    let (_, dir) = gateway.ended().await;
    assert_complete(archive.arrivals().await, &log_of(dir.path()));
    assert_seamless(&archive.ranges().await);
}

fn assert_seamless(ranges: &[(u64, u64)]) {
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "bundles overlap: {ranges:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_gets_every_record_whatever_fails() {
    if let Some(mut bucket) = Bucket::start(None).await {
        survives(&mut bucket).await;
        assert_seamless(&bucket.ranges().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_keeps_one_object_of_each_bundle_however_often_it_comes() {
    if let Some(mut bucket) = Bucket::start(None).await {
        bucket.up().await;
        keeps_one_of_each(&mut bucket).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_one_message_of_each_bundle_however_often_it_comes() {
    if let Some(mut stream) = Stream::start(None).await {
        stream.up().await;
        keeps_one_of_each(&mut stream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_gets_every_record_whatever_fails() {
    if let Some(mut stream) = Stream::start(None).await {
        survives(&mut stream).await;
        assert_seamless(&stream.ranges().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_every_record_whatever_fails() {
    let mut collector = Collector::new();
    collector.moods([
        Mood::Busy { status: 429, retry_after: Some(1) },
        Mood::Taken,
        Mood::Busy { status: 503, retry_after: None },
        Mood::TakenSilently,
    ]);
    survives(&mut collector).await;
    assert_eq!(collector.keys(), ["Basic an-example-of-a-key"]);
}

#[tokio::test]
async fn a_collector_that_asks_for_a_pause_gets_it_and_one_that_throws_records_away_is_counted() {
    let origin = Origin::start().await.chat("ok");
    let mut collector = Collector::new();
    collector.moods([Mood::Busy { status: 429, retry_after: Some(2) }, Mood::Rejects(1), Mood::TooLarge, Mood::Taken]);
    collector.up().await;
    let gateway = run(&origin, &format!("    sinks: [{}]\n", collector.config())).start().await;
    ask(&gateway, 3).await;
    delivered(&gateway).await;
    let times = collector.times();
    assert!(times[1] - times[0] >= Duration::from_secs(2), "{times:?}");
    let rejected = gateway.metric("keeptrusts_audit_sink_rejected_total", &["sink=\"far\""]).await;
    assert_eq!(rejected, 1.0);
    assert!(gateway.log().contains("were rejected: too old"), "{}", gateway.log());
    assert!(!gateway.log().contains("an-example-of-a-key"));
}

/// Two gateways of one host write beside each other and are killed while the sink is down. The next one takes the first log.
#[tokio::test]
async fn the_log_of_a_gateway_that_is_gone_is_delivered_by_the_next_one() {
    let origin = Origin::start().await.chat("ok");
    let mut collector = Collector::new();
    let run = || run(&origin, &format!("    sinks: [{}]\n", collector.config()));
    let (first, third) = (run().start().await, run());
    let dir = TempDir::new().unwrap();
    std::fs::copy(first.dir().join("policy-config.yaml"), dir.path().join("policy-config.yaml")).unwrap();
    std::os::unix::fs::symlink(first.dir().join("audit"), dir.path().join("audit")).unwrap();
    let second = run().start_in(dir).await;
    ask(&first, 2).await;
    ask(&second, 3).await;
    first.signal("KILL");
    second.signal("KILL");
    let (_, dir) = first.ended().await;
    second.ended().await;
    collector.up().await;
    let gateway = third.start_in(dir).await;
    until("both logs are delivered", &gateway, async || collector.logs().len() == 2).await;
    delivered(&gateway).await;
    until("the other one is delivered to its end", &gateway, async || gateway.log().contains("lacks 0 records")).await;
    gateway.signal("TERM");
    let (_, dir) = gateway.ended().await;
    let logs = logs_of(dir.path());
    assert_eq!(logs.len(), 2);
    for (log, arrivals) in collector.logs() {
        assert_complete(arrivals, &logs[&log]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_are_anchored_once_each_and_another_history_is_noticed() {
    let Some(mut bucket) = Bucket::start(None).await else { return };
    bucket.up().await;
    let origin = Origin::start().await.chat("ok");
    let anchor = format!("    log_all_access: false\n    anchor: {{every_seconds: 1, s3: {}}}\n", bucket.store());
    let gateway = run(&origin, &anchor).start().await;
    let log = std::fs::read_dir(gateway.dir().join("audit/kt")).unwrap().next().unwrap().unwrap().path();
    let name = log.strip_prefix(gateway.dir().join("audit")).unwrap().display().to_string();
    let anchored = async || gateway.metric("keeptrusts_audit_anchored_records", &["place=\"s3\""]).await as u64;
    for more in [1, 2] {
        ask(&gateway, more).await;
        until("all records are anchored", &gateway, async || {
            let durable = gateway.metric("keeptrusts_audit_durable_index", &[]).await as u64;
            durable > 0 && anchored().await == durable + 1
        })
        .await;
    }
    let found = bucket.objects(&format!("prod/{name}/checkpoints/")).await;
    assert!(found.len() >= 2, "{found:?}");
    for (size, note) in &found {
        let said = String::from_utf8(note.clone()).unwrap();
        assert_eq!(said.lines().nth(1).unwrap().parse(), size.parse::<u64>());
        std::fs::write(gateway.dir().join(format!("anchored-{size}")), note).unwrap();
        let verified =
            gateway.kt(&["audit", "verify", "--audit-dir", "audit", "--json", "--anchor", &format!("anchored-{size}")]);
        let verified: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!((&verified["intact"], &verified["logs"][0]["anchored"]), (&true.into(), &1.into()), "{verified}");
    }
    // Nothing comes any more, so nothing is signed: the checkpoint stays what somebody makes of it.
    let size = anchored().await;
    let root = format!("{}=", "B".repeat(42) + "A");
    std::fs::write(log.join("new"), format!("{name}\n{size}\n{root}\n\n\u{2014} {name} c2lnbmF0dXJl\n")).unwrap();
    std::fs::rename(log.join("new"), log.join("checkpoint")).unwrap();
    until("it is noticed", &gateway, async || gateway.log().contains("says something else")).await;
    assert!(!gateway.log().contains("an-example-of-a-key"));
}

/// Over TLS, and only to whom the system trusts.
async fn speaks_tls(receiver: &mut impl Receiver, identity: &Identity) {
    let origin = Origin::start().await.chat("ok");
    let run = || run(&origin, &format!("    sinks: [{}]\n", receiver.config()));
    let (trusting, wary) = (run().env("SSL_CERT_FILE", &identity.certificate().display().to_string()), run());
    receiver.up().await;
    let gateway = wary.start().await;
    until("it does not trust a stranger", &gateway, async || gateway.log().to_lowercase().contains("certificate")).await;
    let gateway = trusting.start().await;
    ask(&gateway, 1).await;
    delivered(&gateway).await;
    gateway.signal("TERM");
    let (_, dir) = gateway.ended().await;
    assert_complete(receiver.arrivals().await, &log_of(dir.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_reach_a_store_over_tls_that_is_verified() {
    let identity = Identity::new();
    if let Some(mut bucket) = Bucket::start(Some(&identity)).await {
        speaks_tls(&mut bucket, &identity).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_reach_a_stream_over_tls_that_is_verified() {
    let identity = Identity::new();
    if let Some(mut stream) = Stream::start(Some(&identity)).await {
        speaks_tls(&mut stream, &identity).await;
    }
}

#[tokio::test]
async fn the_doctor_names_a_sink_without_its_key() {
    let origin = Origin::start().await.chat("ok");
    let keys = "access_key_id_ref: {env: STORE_KEY_ID}, secret_key_ref: {env: KT_NOBODY_SETS_THIS}";
    let store = format!("    sinks: [{{name: far, type: s3, bucket: records, {keys}}}]\n");
    let (code, report) = run(&origin, &store).doctor().await;
    let report = report.to_string();
    assert_eq!(code, 1);
    assert!(report.contains("sink far") && report.contains("KT_NOBODY_SETS_THIS is not set"), "{report}");
    assert!(!report.contains("AKIAEXAMPLE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_messages_can_be_deleted_is_not_written_to() {
    let Some(mut stream) = Stream::start(None).await else { return };
    stream.up().await;
    stream.create_unsafe().await;
    let origin = Origin::start().await.chat("ok");
    let gateway = run(&origin, &format!("    sinks: [{}]\n", stream.config())).start().await;
    ask(&gateway, 1).await;
    until("it says why", &gateway, async || gateway.log().contains("its messages can be deleted")).await;
    assert!(stream.arrivals().await.is_empty());
}
