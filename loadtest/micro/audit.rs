//! What the audit log costs: records a second made durable, processor time a record, and how long a caller waits. Numbers of one
//! machine at one moment say little, so `loadtest/audit.py` runs this beside the same pipeline without hashes and beside SQLite
//! and prints ratios.
//!
//! ```text
//! cargo build --profile profiling --no-default-features --example audit
//! python3 loadtest/audit.py target/profiling/examples/audit
//! ```

use kt::audit::origin::Origin;
use kt::audit::record::{About, Client, Completed, Outcome, Received};
use kt::audit::scan::{Begin, Look, Patience, scan};
use kt::audit::segment::put_frame;
use kt::audit::{Journal, JournalSettings, MinFree};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: audit MODE DIR [N] [BYTES]

log     writes N records of about BYTES bytes from two threads and waits until all are durable and signed
plain   the same records through the same steps without a hash, a tree or a checkpoint
paced   N exchanges a second for BYTES seconds: what a caller waits for its record to be durable
enqueue the same rate: what handing a record over takes
read    checks the log in DIR as a start of the gateway would, were none of it sealed

Prints one line of JSON.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Some(default), |n| n.parse().ok());
    let (Some(mode), Some(dir), Some(n), Some(bytes)) = (args.first(), args.get(1), number(2, 200_000), number(3, 1024)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let dir = Path::new(dir);
    match mode.as_str() {
        "log" => log(dir, n, bytes as usize),
        "plain" => plain(dir, n, bytes as usize),
        "paced" => paced(dir, n, bytes, true),
        "enqueue" => paced(dir, n, bytes, false),
        "read" => read(dir),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn log(dir: &Path, n: u64, bytes: usize) {
    let journal = journal(dir);
    let size = length(bytes);
    let (began, cpu) = (Instant::now(), processor_time());
    thread::scope(|scope| {
        for _ in 0..2 {
            let journal = journal.clone();
            scope.spawn(move || {
                for _ in 0..n / 2 {
                    if let Ok(ticket) = block_on(journal.admit()) {
                        ticket.complete(record(size));
                    }
                }
            });
        }
    });
    while journal.status().durable_index.is_none_or(|index| index + 1 < journal.status().records) {
        thread::sleep(Duration::from_micros(100));
    }
    report("log", n, began.elapsed(), processor_time() - cpu);
    journal.close();
}

/// Records on their way from the callers to the one thread that writes.
type Queue = (Mutex<(Vec<Vec<u8>>, usize, bool)>, Condvar, Condvar);

/// Frames and checksums, pre-zeroed files, one writer, and a sync while the next batch is made.
fn plain(dir: &Path, n: u64, bytes: usize) {
    const SEGMENT: u64 = 64 << 20;
    const LIMIT: usize = 64 << 20;
    std::fs::create_dir_all(dir).expect("a directory");
    let size = length(bytes);
    let queue: Arc<Queue> = Arc::default();
    let (began, cpu) = (Instant::now(), processor_time());
    let writer = {
        let (queue, dir) = (queue.clone(), dir.to_path_buf());
        thread::spawn(move || {
            let make = |number: u64| kt::audit::segment::blank(&dir.join(format!("{number}.plain")), SEGMENT).expect("a file");
            let (mut file, mut number, mut at) = (make(0), 0, 0);
            let (sender, syncs) = std::sync::mpsc::sync_channel::<File>(1);
            let syncing = thread::spawn(move || syncs.into_iter().for_each(|file| file.sync_data().expect("a sync")));
            loop {
                let batch = {
                    let mut state = queue.0.lock().expect("the queue");
                    while state.0.is_empty() && !state.2 {
                        state = queue.1.wait(state).expect("the queue");
                    }
                    state.1 = 0;
                    queue.2.notify_all();
                    std::mem::take(&mut state.0)
                };
                if batch.is_empty() {
                    break;
                }
                let mut frames = Vec::with_capacity(batch.iter().map(|entry| entry.len() + 40).sum());
                batch.iter().for_each(|entry| put_frame(&mut frames, &[0; 32], entry));
                for part in frames.chunks(1 << 20) {
                    if at + part.len() as u64 > SEGMENT {
                        number += 1;
                        (file, at) = (make(number), 0);
                    }
                    file.write_all_at(part, at).expect("a write");
                    at += part.len() as u64;
                }
                sender.send(file.try_clone().expect("a file")).expect("the sync thread");
            }
            drop(sender);
            syncing.join().expect("the sync thread");
        })
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            let queue = &queue;
            scope.spawn(move || {
                for _ in 0..n / 2 {
                    let entry = serde_json::to_vec(&record(size)).expect("a record");
                    let mut state = queue.0.lock().expect("the queue");
                    while state.1 > LIMIT {
                        state = queue.2.wait(state).expect("the queue");
                    }
                    state.1 += entry.len();
                    state.0.push(entry);
                    queue.1.notify_one();
                }
            });
        }
    });
    queue.0.lock().expect("the queue").2 = true;
    queue.1.notify_one();
    writer.join().expect("the writer");
    report("plain", n, began.elapsed(), processor_time() - cpu);
}

/// One exchange after the other from eight threads, at a steady rate.
fn paced(dir: &Path, rate: u64, seconds: u64, durable: bool) {
    const THREADS: u64 = 8;
    let journal = journal(dir);
    let size = length(1024);
    let began = Instant::now();
    let waits = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|place| {
                let journal = journal.clone();
                scope.spawn(move || {
                    let mut waits = Vec::new();
                    for turn in 0..rate * seconds / THREADS {
                        let due = Duration::from_secs_f64((turn * THREADS + place) as f64 / rate as f64);
                        thread::sleep(due.saturating_sub(began.elapsed()));
                        let Ok(mut ticket) = block_on(journal.admit()) else { continue };
                        let asked = Instant::now();
                        if durable {
                            let received = Received { about: record(size).about, ..Received::default() };
                            block_on(ticket.received(received)).expect("a durable record");
                            waits.push(asked.elapsed());
                            ticket.complete(record(0));
                        } else {
                            ticket.complete(record(size));
                            waits.push(asked.elapsed());
                        }
                    }
                    waits
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect::<Vec<_>>()
    });
    journal.close();
    let mut waits: Vec<f64> = waits.iter().map(|wait| wait.as_secs_f64() * 1e6).collect();
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied().unwrap_or_default();
    let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
    let mode = if durable { "paced" } else { "enqueue" };
    println!(r#"{{"mode":"{mode}","rate":{rate},"n":{},"p50_us":{p50:.1},"p99_us":{p99:.1},"p999_us":{p999:.1}}}"#, waits.len());
}

fn read(dir: &Path) {
    let origin = Origin::parse("kt/bench").expect("an origin");
    let (began, mut bytes) = (Instant::now(), 0);
    let look = Look { begin: Begin::First, patience: Patience::None, roots_at: Default::default() };
    let log = scan(dir, &origin, &look, &mut |read| bytes = bytes.max(read)).expect("an intact log");
    let took = began.elapsed().as_secs_f64();
    println!(r#"{{"mode":"read","n":{},"bytes":{bytes},"seconds":{took:.3}}}"#, log.tree.size());
}

fn journal(dir: &Path) -> Journal {
    let settings = JournalSettings {
        max_wait: Duration::from_secs(30),
        min_free: MinFree { bytes: 0, percent: 0.0 },
        ..JournalSettings::default()
    };
    Journal::open(dir, "kt/bench", settings).expect("a log")
}

/// Length of the filling that makes a record about this long.
fn length(bytes: usize) -> usize {
    bytes.saturating_sub(serde_json::to_vec(&record(0)).expect("a record").len() + 190)
}

fn record(filling: usize) -> Completed {
    let client = Client { ip: Some("192.0.2.7".into()), user_agent: Some("x".repeat(filling)) };
    let about = About { client, request_model: Some("llama3.3-70b".into()), stream: true, ..About::default() };
    Completed { about, outcome: Outcome::Success, verdict: "allow".into(), http_status: Some(200), ..Completed::default() }
}

fn report(mode: &str, n: u64, took: Duration, cpu: Duration) {
    let (took, cpu) = (took.as_secs_f64(), cpu.as_secs_f64());
    let (rate, each) = (n as f64 / took, cpu * 1e6 / n as f64);
    println!(r#"{{"mode":"{mode}","n":{n},"seconds":{took:.3},"records_per_second":{rate:.0},"cpu_us":{each:.3}}}"#);
}

/// User and system time of this process, to ten milliseconds (proc(5), fields 14 and 15).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Duration::from_millis(10) * fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}
