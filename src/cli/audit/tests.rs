//! The commands as people give them, on logs that a journal wrote.

use super::super::{AuditCommand, Cli, Command};
use super::*;
use crate::audit::inbox::{self, Access};
use crate::audit::record::{About, Completed, Outcome, Received, UsageNumbers};
use crate::audit::{Journal, JournalSettings, MinFree, segment};
use clap::Parser;
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

mod reading;

#[test]
fn an_intact_log_is_zero_also_while_a_gateway_writes() {
    let (dir, journal) = journal();
    exchange(&journal);
    let (code, out, _) = kt(dir.path(), &["verify"]);
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
    let (code, out, _) = kt(dir.path(), &["verify"]);
    assert_eq!(code, DAMAGED);
    assert!(out.contains("DAMAGED at index 3"), "{out}");
    let (code, out, _) = kt(dir.path(), &["verify", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["intact"], &report["logs"][0]["index"]), (DAMAGED, &json!(false), &json!(3)));
}

#[test]
fn a_log_is_held_to_the_key_that_was_pinned_and_to_checkpoints_kept_elsewhere() {
    let (dir, journal) = journal();
    exchange(&journal);
    journal.close();
    let home = dir.path().join("kt/test");
    let key = std::fs::read_to_string(home.join("key.pub")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let kept = |name: &str| elsewhere.path().join(name).display().to_string();
    std::fs::write(kept("key"), &key).unwrap();
    std::fs::copy(home.join("checkpoint"), kept("note")).unwrap();
    for pinned in [key.trim(), &kept("key")] {
        let (code, out, err) = kt(dir.path(), &["verify", "--key", pinned, "--anchor", &kept("note")]);
        assert_eq!(code, INTACT, "{out}{err}");
        assert!(out.contains("1 of them kept elsewhere") && out.contains("as given with --key"), "{out}");
    }
    // Somebody makes the whole log anew, with a key of their own.
    std::fs::remove_dir_all(&home).unwrap();
    let journal = open(dir.path());
    exchange(&journal);
    journal.close();
    assert_eq!(kt(dir.path(), &["verify"]).0, INTACT, "nothing beside it tells");
    for held_to in [["--key", key.trim()], ["--anchor", &kept("note")]] {
        let (code, out, _) = kt(dir.path(), &[&["verify"], &held_to[..]].concat());
        assert_eq!(code, DAMAGED, "{out}");
    }
    // Or puts another log in its place.
    std::fs::rename(&home, dir.path().join("kt/other")).unwrap();
    let (code, _, err) = kt(dir.path(), &["verify", "--key", key.trim()]);
    assert_eq!(code, USAGE);
    assert!(err.contains("there is no log kt/test"), "{err}");
    let (_, _, err) = kt(dir.path(), &["verify", "--anchor", &kept("note")]);
    assert!(err.contains("checkpoints of kt/test, and no such log"), "{err}");
}

#[test]
fn what_is_no_key_and_no_checkpoint_is_two() {
    let (dir, journal) = journal();
    exchange(&journal);
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    for option in ["--key", "--anchor"] {
        for wrong in [empty.to_str().unwrap(), "/does/not/exist"] {
            let (code, out, err) = kt(dir.path(), &["verify", option, wrong]);
            assert_eq!((code, out.as_str()), (USAGE, ""));
            assert!(err.contains(wrong), "{err}");
        }
    }
}

#[test]
fn a_directory_without_a_log_is_two() {
    let dir = tempfile::tempdir().unwrap();
    for command in [&["verify"][..], &["tail"], &["query"], &["export", "--csv"], &["prove", "--index", "0"], &["hold", "list"]] {
        let (code, out, err) = kt(dir.path(), command);
        assert_eq!((code, out.as_str()), (USAGE, ""), "{command:?}");
        assert!(err.contains("--audit-dir"), "{err}");
    }
}

#[test]
fn holds_are_put_on_every_log_and_lifted_again() {
    let (dir, journal) = journal();
    exchange(&journal);
    Journal::open(dir.path(), "kt/test-2", settings()).unwrap().close();
    let add = ["hold", "add", "case-7", "--reason", "a \u{1b}[31mletter", "--from", "2026-01-01", "--to", "2026-11-21"];
    let (code, out, err) = kt(dir.path(), &add);
    assert_eq!((code, out.lines().count()), (INTACT, 2), "{out}{err}");
    assert_eq!(kt(dir.path(), &add).0, INTACT, "the same again changes nothing");
    let (code, _, err) = kt(dir.path(), &["hold", "add", "case-7", "--reason", "another"]);
    assert_eq!(code, USAGE);
    assert!(err.contains("another hold"), "{err}");
    let (_, out, _) = kt(dir.path(), &["hold", "list"]);
    assert!(
        out.contains("`case-7` holds records from 2026-01-01T00:00:00.000000000Z to 2026-11-21T23:59:59.999999999Z"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'));
    let (_, out, _) = kt(dir.path(), &["hold", "list", "--json", "--origin", "kt/test-2"]);
    let hold: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&hold["origin"], &hold["name"]), (&json!("kt/test-2"), &json!("case-7")));
    assert_eq!(kt(dir.path(), &["hold", "lift", "case-7"]).0, INTACT);
    assert_eq!(kt(dir.path(), &["hold", "lift", "case-7"]).0, USAGE);
    assert_eq!(kt(dir.path(), &["hold", "list"]).1, "");
    assert_eq!(kt(dir.path(), &["hold", "add", "x", "--reason", "y", "--from", "2026-02-01", "--to", "2026-01-01"]).0, USAGE);
}

#[test]
fn every_look_at_a_log_is_left_for_it_to_record() {
    let (dir, journal) = journal();
    exchange(&journal);
    // Nobody takes the messages over any more.
    journal.close();
    let inbox = dir.path().join("kt/test/inbox");
    let proof = dir.path().join("proof").display().to_string();
    for (command, kind, records) in [
        (&["verify"][..], "audit.verify", Some(2)),
        (&["tail", "-n", "1"], "audit.read", Some(1)),
        (&["query", "--type", "completed"], "audit.read", Some(1)),
        (&["export", "--jsonl"], "audit.export", None),
        (&["export", "--csv", "--out", &proof], "audit.export", Some(2)),
        (&["prove", "--index", "0"], "audit.read", Some(1)),
        (&["hold", "add", "a", "--reason", "b"], "audit.hold", None),
        (&["hold", "lift", "a"], "audit.hold", None),
    ] {
        let (code, _, err) = kt(dir.path(), command);
        assert_eq!(code, INTACT, "{command:?} {err}");
        let mut left: Vec<_> = std::fs::read_dir(&inbox).unwrap().map(|file| file.unwrap().path()).collect();
        let path = left.pop().unwrap();
        assert!(left.is_empty(), "{command:?}: {left:?}");
        let access: Access = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((access.action.kind(), access.records, access.user.as_str()), (kind, records, "jane(1000)"), "{command:?}");
        assert_eq!(access.what, command.join(" "));
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_cannot_be_recorded_is_not_shown() {
    let (dir, journal) = journal();
    exchange(&journal);
    journal.close();
    // Even root cannot make a file in a folder that is none.
    let home = dir.path().join("kt/test");
    std::fs::remove_dir_all(home.join("inbox")).unwrap();
    std::fs::create_dir(home.join("real")).unwrap();
    std::os::unix::fs::symlink("real", home.join("inbox")).unwrap();
    assert!(inbox::is_open(&home));
    kt(dir.path(), &["tail"]);
    assert_eq!(std::fs::read_dir(home.join("real")).unwrap().count(), 1);
    std::fs::remove_file(home.join("inbox")).unwrap();
    // A mount that is full, as /dev/full is for files, cannot be had without rights: a folder that was removed while open is one.
    std::os::unix::fs::symlink("/proc/self/fdinfo", home.join("inbox")).unwrap();
    for command in [&["verify"][..], &["tail"], &["query"], &["export", "--jsonl"], &["prove", "--index", "0"]] {
        let (code, out, err) = kt(dir.path(), command);
        assert_eq!((code, out.as_str()), (USAGE, ""), "{command:?}");
        assert!(err.contains("must be recorded"), "{command:?}: {err}");
    }
    assert_eq!(kt(dir.path(), &["hold", "add", "a", "--reason", "b"]).0, USAGE);
    assert_eq!(kt(dir.path(), &["hold", "list"]).1, "", "a hold that cannot be recorded is not made");
}

/// `kt audit ...` on the logs of a directory: exit code, output and errors.
fn kt(dir: &Path, command: &[&str]) -> (i32, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(dir, command, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn run(dir: &Path, command: &[&str], out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let caller = Caller { user: "jane(1000)".into(), said: command.join(" "), now: SystemTime::now() };
    parsed(dir, command).unwrap_or_else(|error| panic!("{error}")).run(&caller, out, err)
}

fn parsed(dir: &Path, command: &[&str]) -> Result<AuditCommand, clap::Error> {
    let dir = dir.display().to_string();
    let line = [&["kt", "audit"], command, &["--audit-dir", &dir]].concat();
    match Cli::try_parse_from(line)?.command {
        Command::Audit { command } => Ok(command),
        _ => unreachable!("it is an audit command"),
    }
}

fn journal() -> (TempDir, Journal) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let journal = open(dir.path());
    (dir, journal)
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, "kt/test", settings()).unwrap()
}

fn settings() -> JournalSettings {
    JournalSettings {
        max_wait: Duration::from_secs(30),
        min_free: MinFree { bytes: 0, percent: 0.0 },
        segment_bytes: segment::MIN_SEGMENT,
        ..JournalSettings::default()
    }
}

/// One whole exchange, on disk when it returns.
fn exchange(journal: &Journal) {
    let about = About { request_model: Some("llama\u{1b}".into()), user: Some("=jane".into()), ..About::default() };
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
