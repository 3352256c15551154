//! Finds checkpoints that were kept elsewhere: in files of their own, and in what a syslog or a journal is written out as.
//!
//! Two forms are known: the note as it is (C2SP), wherever it stands in a text, and the whole note in base64 as one word of a line,
//! which is how the gateway hands it to the machine's own log.

use super::note::{Checkpoint, MAX_NOTE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The longest line read, in bytes; of longer ones the rest is passed over.
const LONGEST_LINE: usize = 4 * MAX_NOTE;
/// The shortest word that can be a note in base64.
const SHORTEST_WORD: usize = 120;
/// Lines of a note before its empty line: three, and what extensions one may have.
const MOST_LINES: usize = 64;
/// How deep directories are searched.
const DEEPEST: usize = 8;

/// The checkpoints in a file, or in every file below a directory, each once, with the file it was found in.
///
/// # Errors
/// Those of the file system.
pub fn find(place: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let (mut found, mut known) = (Vec::new(), BTreeSet::new());
    descend(place, 0, &mut |path| {
        for note in in_text(&mut BufReader::new(File::open(path)?))? {
            if known.insert(note.clone()) {
                found.push((path.to_path_buf(), note));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

fn descend(place: &Path, depth: usize, each: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if !place.is_dir() {
        return each(place);
    }
    let mut inside = std::fs::read_dir(place)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    inside.sort();
    for path in inside.iter().filter(|path| path.is_file() || (path.is_dir() && depth < DEEPEST)) {
        descend(path, depth + 1, each)?;
    }
    Ok(())
}

/// The checkpoints in a text, in order.
fn in_text(text: &mut dyn BufRead) -> io::Result<Vec<String>> {
    let mut search = Search::default();
    let mut line = Vec::new();
    while read_line(text, &mut line)? {
        let text = String::from_utf8_lossy(&line);
        search.line(text.strip_suffix('\r').unwrap_or(&text));
    }
    search.end();
    Ok(search.found)
}

/// Reads a line without its end. False at the end of the text.
fn read_line(text: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut read = false;
    loop {
        let bytes = text.fill_buf()?;
        if bytes.is_empty() {
            return Ok(read);
        }
        read = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        let done = part.len() + usize::from(end.is_some());
        text.consume(done);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Goes through a text line by line.
#[derive(Default)]
struct Search {
    found: Vec<String>,
    /// Lines since the last empty one.
    lines: Vec<String>,
    /// The text of a note that may be going on, and its signatures.
    note: Option<(String, String)>,
}

impl Search {
    fn line(&mut self, line: &str) {
        for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))) {
            self.word(word);
        }
        if let Some((_, signatures)) = &mut self.note
            && line.starts_with("— ")
        {
            if signatures.len() + line.len() < MAX_NOTE {
                signatures.push_str(line);
                signatures.push('\n');
            }
            return;
        }
        self.end();
        if line.is_empty() {
            self.note = self.text().map(|text| (text, String::new()));
            self.lines.clear();
        } else {
            if self.lines.len() == MOST_LINES {
                self.lines.remove(0);
            }
            self.lines.push(line.to_string());
        }
    }

    /// A note in base64, with or without `name=` before it.
    fn word(&mut self, word: &str) {
        let body = word.trim_end_matches('=');
        let word = word.get(body.rfind('=').map_or(0, |at| at + 1)..).unwrap_or_default();
        if (SHORTEST_WORD..=2 * MAX_NOTE).contains(&word.len())
            && let Some(note) = BASE64.decode(word).ok().and_then(|bytes| String::from_utf8(bytes).ok())
            && let Some((text, signatures)) = note.split_once("\n\n")
            && signatures.starts_with("— ")
            && Checkpoint::parse(&format!("{text}\n")).is_ok()
        {
            self.found.push(note);
        }
    }

    /// The text of a checkpoint, if the lines so far end with one.
    fn text(&self) -> Option<String> {
        (0..self.lines.len()).find_map(|begin| {
            let text = self.lines.get(begin..)?.iter().fold(String::new(), |text, line| text + line + "\n");
            Checkpoint::parse(&text).is_ok().then_some(text)
        })
    }

    /// Ends the note that is going on.
    fn end(&mut self) {
        if let Some((text, signatures)) = self.note.take()
            && !signatures.is_empty()
        {
            self.found.push(format!("{text}\n{signatures}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::Signer;
    use super::*;
    use proptest::prelude::*;

    fn note(size: u64) -> String {
        let signer = Signer::from_seed("kt/edge-7", &[7; 32]).unwrap();
        signer.sign(&Checkpoint { origin: "kt/edge-7".into(), size, root: [size as u8; 32] })
    }

    fn found(text: &str) -> Vec<String> {
        in_text(&mut text.as_bytes()).unwrap()
    }

    #[test]
    fn a_note_is_found_as_it_is_in_base64_and_among_other_lines() {
        let (one, two) = (note(1), note(70_000));
        let line = |note: &str| BASE64.encode(note);
        assert_eq!(found(&one), [one.clone()]);
        assert_eq!(found(&format!("{one}{two}")), [one.clone(), two.clone()]);
        assert_eq!(found(&format!("on paper:\n\nfirst\n{one}\nand then\n\n{two}")), [one.clone(), two.clone()]);
        assert_eq!(found(&one.replace('\n', "\r\n")), [one.clone()]);
        let syslog =
            format!("Nov 21 18:00:00 edge-7 kt[9]: audit checkpoint log=kt/edge-7 size=1 root=AAAA note={}\n", line(&one));
        assert_eq!(
            found(&format!("{syslog}something else\n{}", syslog.replace(&line(&one), &line(&two)))),
            [one.clone(), two.clone()]
        );
        assert_eq!(found(&format!("{{\"KT_AUDIT_LOG\":\"kt/edge-7\",\"KT_AUDIT_NOTE\":\"{}\"}}", line(&one))), [one]);
    }

    #[test]
    fn what_is_no_checkpoint_is_passed_over() {
        let text = note(5);
        assert_eq!(found(&text.replace("5\n", "five\n")), Vec::<String>::new());
        assert_eq!(found(text.split_once("\n\n").unwrap().0), Vec::<String>::new());
        assert_eq!(found(&BASE64.encode("x".repeat(500))), Vec::<String>::new());
    }

    #[test]
    fn every_file_below_a_directory_is_looked_at_and_each_note_told_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("kt/edge-7/checkpoints")).unwrap();
        std::fs::write(dir.path().join("kt/edge-7/checkpoints/1"), note(1)).unwrap();
        std::fs::write(dir.path().join("other"), [0xff, 0xfe]).unwrap();
        std::fs::write(dir.path().join("syslog"), format!("{}\n{}", BASE64.encode(note(1)), BASE64.encode(note(2)))).unwrap();
        let notes: Vec<String> = find(dir.path()).unwrap().into_iter().map(|(_, note)| note).collect();
        assert_eq!(notes, [note(1), note(2)]);
        assert!(find(&dir.path().join("absent")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_a_note_in_it_is_found(before in "([a-z0-9=+/— \n]{0,40}\n\n)?", size in 0u64..300, after in "(\n[a-z=— \n]{0,40})?") {
            let note = note(size);
            let found = found(&format!("{before}{note}{after}"));
            prop_assert!(found.contains(&note));
        }
    }
}
