//! What shows records: tail, query, export, prove.

use super::*;
use crate::audit::note::Verifier;
use crate::audit::sealed;
use crate::audit::tiles::verify_tree;

#[test]
fn tail_prints_the_newest_records_one_a_line() {
    let (dir, journal) = journal();
    (0..3).for_each(|_| exchange(&journal));
    let (code, out, _) = kt(dir.path(), &["tail", "-n", "2"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (INTACT, 2), "{out}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words[1..8], ["completed", "allow", "200", "llama\u{fffd}", "cerebras-8b", "7+9", "12.5ms"]);
    let (_, out, _) = kt(dir.path(), &["tail", "-n", "100", "--json"]);
    assert_eq!(json_lines(&out).iter().filter(|record| record["type"] == "llm.request.completed").count(), 3);
}

#[test]
fn tail_follows_across_segments_until_its_reader_goes() {
    let (dir, journal) = journal();
    exchange(&journal);
    let (sender, lines) = mpsc::channel();
    let path = dir.path().to_path_buf();
    let following =
        std::thread::spawn(move || run(&path, &["tail", "-f", "-n", "1", "--json"], &mut Pipe(sender), &mut Vec::new()));
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

#[test]
fn tail_goes_back_into_what_is_sealed() {
    let dir = long();
    let (_, out, _) = kt(dir.path(), &["tail", "-n", "1000000", "--json"]);
    let (_, all, _) = kt(dir.path(), &["export", "--jsonl"]);
    assert_eq!(out, all);
    let (_, few, _) = kt(dir.path(), &["tail", "-n", "700", "--json"]);
    assert!(all.ends_with(&few) && few.lines().count() == 700);
}

#[test]
fn query_finds_by_every_kind_of_option_and_says_how_it_was_found() {
    let dir = long();
    let (_, all, _) = kt(dir.path(), &["export", "--jsonl"]);
    let records = json_lines(&all);
    let one = &records[records.len() / 2];
    let id = one["id"].as_str().unwrap();
    let (code, out, err) = kt(dir.path(), &["query", "--id", id, "--json"]);
    assert_eq!((code, err.as_str()), (INTACT, ""), "no word beside the records");
    assert!(json_lines(&out).iter().any(|record| record == one));
    assert!(json_lines(&out).len() <= 2);
    let (_, out, err) = kt(dir.path(), &["query", "--id", id]);
    assert!(out.contains("cerebras-8b") && err.contains("read: 1 of "), "{out}{err}");
    let (_, out, _) =
        kt(dir.path(), &["query", "--verdict", "allow", "--model", "llama\u{1b}", "--user", "=jane", "-n", "5", "--json"]);
    let newest: Vec<&Value> = records.iter().filter(|record| record["verdict"] == "allow").collect();
    assert_eq!(json_lines(&out).iter().collect::<Vec<_>>(), newest[newest.len() - 5..]);
    let (_, out, err) = kt(dir.path(), &["query", "--type", "received", "--type", "completed", "-n", "3"]);
    assert!(out.lines().count() == 3 && err.contains("3 records; older ones match too"), "{err}");
    let (_, out, err) = kt(dir.path(), &["query", "--since", "2h", "--until", "1h"]);
    assert!(out.is_empty() && err.contains("0 records (read: 0 of"), "{err}");
}

#[test]
fn options_that_make_no_sense_are_refused_with_what_would() {
    let dir = tempfile::tempdir().unwrap();
    for (command, says) in [
        (&["query", "--since", "yesterday"][..], "2h"),
        (&["query", "--verdict", "blocked"], "possible values"),
        (&["query", "--type", "finished"], "received, completed"),
        (&["query", "--limit", "0"], "1..=100000"),
        (&["export"], "--jsonl"),
        (&["export", "--jsonl", "--csv"], "cannot be used"),
        (&["export", "--tiles", "x", "--since", "2h"], "cannot be used"),
        (&["prove"], "--id"),
        (&["prove", "--check", "x"], "--record"),
        (&["hold", "add", "../x", "--reason", "y"], "letters"),
        (&["hold", "add", "x", "--reason", " "], "say why"),
        (&["tail", "--origin", "../x"], "cannot name a log"),
    ] {
        let error = parsed(dir.path(), command).unwrap_err();
        assert!(error.exit_code() == USAGE && error.to_string().contains(says), "{command:?}: {error}");
    }
}

#[test]
fn export_writes_every_form_and_each_record_once() {
    let dir = long();
    let (_, out, _) = kt(dir.path(), &["export", "--jsonl"]);
    assert_eq!(json_lines(&out).len(), 1000);
    let (_, out, _) = kt(dir.path(), &["export", "--csv", "--type", "completed"]);
    assert_eq!(out.split("\r\n").count(), 502);
    assert!(out.starts_with("index,time,type,id,") && out.contains(",'=jane,") && out.contains(",llama\u{fffd},"));
    let (_, out, _) = kt(dir.path(), &["export", "--ocsf", "--type", "completed"]);
    let events = json_lines(&out);
    assert_eq!((events.len(), &events[0]["class_uid"], &events[0]["metadata"]["sequence"]), (500, &json!(6003), &json!(1)));
    let file = dir.path().join("out");
    let (code, out, err) = kt(dir.path(), &["export", "--jsonl", "--out", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str(), std::fs::read_to_string(file).unwrap().lines().count()), (INTACT, "", 1000), "{err}");
}

#[test]
fn the_exported_tree_is_verified_without_us_and_goes_into_an_empty_directory_only() {
    let dir = long();
    let to = dir.path().join("tree");
    let (code, out, err) = kt(dir.path(), &["export", "--tiles", to.to_str().unwrap()]);
    assert_eq!(code, INTACT, "{err}");
    assert!(out.contains("1000 records of kt/test"), "{out}");
    let key = std::fs::read_to_string(dir.path().join("kt/test/key.pub")).unwrap();
    verify_tree(&to, &Verifier::parse(key.trim_end()).unwrap(), 0).unwrap();
    let (code, _, err) = kt(dir.path(), &["export", "--tiles", to.to_str().unwrap()]);
    assert_eq!(code, USAGE);
    assert!(err.contains("not empty"), "{err}");
}

#[test]
fn a_proof_holds_for_its_record_and_under_its_key_only() {
    let dir = long();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let key = file("kt/test/key.pub");
    let (code, _, err) = kt(dir.path(), &["prove", "--index", "417", "--out", &file("proof"), "--with-record", &file("record")]);
    assert_eq!(code, INTACT, "{err}");
    let check = |record: &str, key: &str| kt(dir.path(), &["prove", "--check", &file("proof"), "--record", record, "--key", key]);
    let (code, out, err) = check(&file("record"), &key);
    assert_eq!(code, INTACT, "{err}");
    assert!(out.contains("is record 417 of kt/test, in the log of 1000 records"), "{out}");
    // By its id, and as a line of an export.
    let record: Value = serde_json::from_slice(&std::fs::read(file("record")).unwrap()).unwrap();
    let id = record["id"].as_str().unwrap();
    let (code, proof, err) = kt(dir.path(), &["prove", "--id", id]);
    assert_eq!((code, proof), (INTACT, std::fs::read_to_string(file("proof")).unwrap()), "{err}");
    let (_, line, _) = kt(dir.path(), &["query", "--id", id, "--json"]);
    let line = line.lines().find(|line| line.contains(&format!("\"id\":\"{id}\""))).unwrap();
    std::fs::write(file("line"), format!("{line}\n")).unwrap();
    assert_eq!(check(&file("line"), &key).0, INTACT);
    // Neither another record, nor another key, nor another proof.
    std::fs::write(file("forged"), line.replace("jane", "anne")).unwrap();
    let (code, out, err) = check(&file("forged"), &key);
    assert_eq!((code, out.as_str()), (DAMAGED, ""));
    assert!(err.contains("NOT PROVED"), "{err}");
    let other = crate::audit::note::Signer::from_seed("kt/test", &[1; 32]).unwrap();
    assert_eq!(check(&file("record"), &other.verifier().to_string()).0, DAMAGED);
    std::fs::write(file("proof"), "what?").unwrap();
    assert_eq!(check(&file("record"), &key).0, DAMAGED);
    for (what, says) in [(["--index", "1000"], "there is no record 1000"), (["--id", "nobody"], "no record has the id")] {
        let (code, out, err) = kt(dir.path(), &[&["prove"], &what[..]].concat());
        assert_eq!((code, out.as_str()), (USAGE, ""));
        assert!(err.contains(says), "{err}");
    }
}

/// A closed log of a thousand records, of which all that can be is sealed.
fn long() -> TempDir {
    let (dir, journal) = journal();
    let quiet = JournalSettings { log_all_access: false, ..settings() };
    journal.close();
    let journal = Journal::open(dir.path(), "kt/test", quiet.clone()).unwrap();
    (0..500).for_each(|_| exchange(&journal));
    let home = dir.path().join("kt/test");
    let written = || segment::list(&home.join("wal")).unwrap().len();
    let began = std::time::Instant::now();
    while written() > 1 {
        assert!(began.elapsed() < Duration::from_secs(20), "never sealed");
        std::thread::sleep(Duration::from_millis(5));
    }
    journal.close();
    assert!(sealed::list(&home).unwrap().len() > 1);
    dir
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
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
