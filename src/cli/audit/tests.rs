use super::*;
use crate::audit::record::{About, Completed, Outcome, Received, UsageNumbers};
use crate::audit::{Journal, JournalSettings, MinFree, segment};
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use tempfile::TempDir;

#[test]
fn an_intact_log_is_zero_also_while_a_gateway_writes() {
    let (dir, journal) = journal();
    exchange(&journal);
    let (code, out, _) = run(|out, err| verify(dir.path(), &Trust::default(), false, out, err));
    assert_eq!(code, INTACT, "{out}");
    assert!(out.contains("kt/test: intact, 2 records in 1 segment(s)"), "{out}");
    assert!(out.contains("1 received = 1 completed + 0 interrupted + 0 open; 0 refused"), "{out}");
}

#[test]
fn a_changed_record_is_one_and_its_index_is_named() {
    let (dir, journal) = journal();
    (0..3).for_each(|_| exchange(&journal));
    journal.close();
    let path = segment::path(&dir.path().join("kt/test/wal"), 0);
    let bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(14).enumerate().filter(|(_, window)| window == b"\"http_status\":").nth(1).unwrap().0;
    std::fs::File::options().write(true).open(&path).unwrap().write_all_at(b"9", place as u64 + 14).unwrap();
    let (code, out, _) = run(|out, err| verify(dir.path(), &Trust::default(), false, out, err));
    assert_eq!(code, DAMAGED);
    assert!(out.contains("DAMAGED at index 3"), "{out}");
    let (code, out, _) = run(|out, err| verify(dir.path(), &Trust::default(), true, out, err));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["intact"], &report["logs"][0]["index"]), (DAMAGED, &json!(false), &json!(3)));
}

#[test]
fn a_directory_without_a_log_is_two() {
    let dir = tempfile::tempdir().unwrap();
    for code in [
        run(|out, err| verify(dir.path(), &Trust::default(), false, out, err)),
        run(|out, err| tail(dir.path(), false, 5, false, out, err)),
    ] {
        assert_eq!((code.0, code.1.as_str()), (USAGE, ""));
        assert!(code.2.contains("--audit-dir"), "{}", code.2);
    }
}

#[test]
fn tail_prints_the_newest_records_one_a_line() {
    let (dir, journal) = journal();
    (0..3).for_each(|_| exchange(&journal));
    let (code, out, _) = run(|out, err| tail(dir.path(), false, 2, false, out, err));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (INTACT, 2), "{out}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words[1..8], ["completed", "allow", "200", "llama\u{fffd}", "cerebras-8b", "7+9", "12.5ms"]);
    let (_, out, _) = run(|out, err| tail(dir.path(), false, 100, true, out, err));
    let records: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 6);
}

#[test]
fn tail_follows_across_segments_until_its_reader_goes() {
    let (dir, journal) = journal();
    exchange(&journal);
    let (sender, lines) = mpsc::channel();
    let path = dir.path().to_path_buf();
    let following = std::thread::spawn(move || tail(&path, true, 1, true, &mut Pipe(sender), &mut Vec::new()));
    assert!(String::from_utf8(lines.recv().unwrap()).unwrap().contains("completed"));
    (0..300).for_each(|_| exchange(&journal));
    let mut text = Vec::new();
    while text.iter().filter(|byte| **byte == b'\n').count() < 600 {
        text.extend(lines.recv_timeout(Duration::from_secs(20)).unwrap());
    }
    drop(lines);
    exchange(&journal);
    assert_eq!(following.join().unwrap(), INTACT);
}

/// A reader that can go away.
struct Pipe(mpsc::Sender<Vec<u8>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(command: impl FnOnce(&mut dyn Write, &mut dyn Write) -> i32) -> (i32, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = command(&mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn journal() -> (TempDir, Journal) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let settings = JournalSettings {
        max_wait: Duration::from_secs(30),
        min_free: MinFree { bytes: 0, percent: 0.0 },
        segment_bytes: segment::MIN_SEGMENT,
        ..JournalSettings::default()
    };
    let journal = Journal::open(dir.path(), "kt/test", settings).unwrap();
    (dir, journal)
}

/// One whole exchange, on disk when it returns.
fn exchange(journal: &Journal) {
    let about = About { request_model: Some("llama\u{1b}".into()), ..About::default() };
    let usage = UsageNumbers { input_tokens: 7, output_tokens: 9, ..UsageNumbers::default() };
    let completed = Completed {
        about: about.clone(),
        target: Some("cerebras-8b".into()),
        outcome: Outcome::Success,
        verdict: "allow".into(),
        http_status: Some(200),
        usage: Some(usage),
        duration_ms: Some(12.52),
        ..Completed::default()
    };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let mut ticket = journal.admit().await.unwrap();
        ticket.received(Received { about, ..Received::default() }).await.unwrap();
        ticket.complete(completed);
    });
    while journal.status().last_index != journal.status().durable_index {
        std::thread::sleep(Duration::from_micros(100));
    }
}
