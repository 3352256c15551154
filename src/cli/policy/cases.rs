//! The cases of a pack: the files in its `tests/` directory and the suites of its config, each file's faults with their place.
//!
//! A file is JSON: a suite (`{"name", "cases"}`), a list of cases, or one case.

use crate::config::{Case, CaseInput, Code, Diagnostic, Expected, Suite};
use crate::openai::json::{JsonError, Problem, Reader, utf8};
use serde::Deserialize;
use serde_json::error::Category;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file, in bytes.
const MAX_FILE: usize = 1 << 20;
/// What a file may be, for advice.
const SHAPE: &str = "write a suite `{\"name\": ..., \"cases\": [...]}`, a list of cases, or one case \
                     `{\"name\": ..., \"input\": {...}, \"expected\": {\"verdict\": ...}}`";

/// A suite and where it was written.
#[derive(Debug)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// Its suite.
    pub suite: Suite,
}

/// Reads every `tests/*.json` of a pack, in order of their names.
///
/// # Errors
/// One fault for each file that cannot be used.
pub fn read(pack: &Path) -> Result<Vec<Origin>, Vec<Diagnostic>> {
    let dir = pack.join("tests");
    let files = files(&dir).map_err(|error| vec![unreadable(&dir, &error)])?;
    let (mut suites, mut faults) = (Vec::new(), Vec::new());
    for path in files {
        let file = path.display().to_string();
        match text(&path).map_err(|error| unreadable(&path, &error)).and_then(|text| parse(&path, &text)) {
            Ok(suite) => suites.push(Origin { file, suite }),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(suites) } else { Err(faults) }
}

/// The JSON files of a directory; none when there is no directory.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > MAX_FILE {
        true => Err(io::Error::other(format!("it is larger than {} KiB", MAX_FILE >> 10))),
        false => Ok(bytes),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::new(Code::Unreadable, format!("this cannot be read: {error}")).of_file(&path.display().to_string())
}

/// Every shape a file may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    cases: Option<Vec<Case>>,
    input: Option<CaseInput>,
    expected: Option<Expected>,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Suite, Diagnostic> {
    let file = path.display().to_string();
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = utf8(bytes).map_err(|error| syntax(&file, "", &error))?;
    // Strictly, as requests are read: what is tried here must not mean something else to the gateway.
    let mut reader = Reader::strict(text);
    reader.skip().and_then(|_| reader.end()).map_err(|error| syntax(&file, text, &error))?;
    let data = |error: serde_json::Error| mismatch(&file, text, &error);
    let suite = match text.trim_start().starts_with('[') {
        true => Suite { name: stem(), cases: serde_json::from_str(text).map_err(data)? },
        false => match serde_json::from_str(text).map_err(data)? {
            Written { name, cases: Some(cases), input: None, expected: None } => Suite { name: name.unwrap_or_else(stem), cases },
            Written { name: Some(name), cases: None, input: Some(input), expected: Some(expected) } => {
                Suite { name: stem(), cases: vec![Case { name, input, expected }] }
            }
            _ => return Err(Diagnostic::new(Code::MissingKey, "this is no suite and no case").help(SHAPE).of_file(&file)),
        },
    };
    match suite.cases.iter().find_map(|case| Some((case, case.input.fault()?))) {
        None => Ok(suite),
        Some((case, (why, advice))) => {
            let message = format!("the case `{}` {why}", super::table::harmless(&case.name));
            Err(Diagnostic::new(Code::MissingKey, message).help(advice).of_file(&file))
        }
    }
}

fn syntax(file: &str, text: &str, error: &JsonError) -> Diagnostic {
    let before = text.get(..text.floor_char_boundary(error.at)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let fault = match &error.problem {
        Problem::DuplicateKey(path) => Diagnostic::new(Code::DuplicateKey, format!("the key `{path}` is here twice")),
        problem => Diagnostic::new(Code::Syntax, format!("this is not JSON: {problem}")),
    };
    let help = if matches!(error.problem, Problem::DuplicateKey(_)) { "keep one of them" } else { SHAPE };
    placed(fault.help(help), file, text, line, column)
}

/// JSON of another shape than a test has, in the words of its reader.
fn mismatch(file: &str, text: &str, error: &serde_json::Error) -> Diagnostic {
    let words = error.to_string();
    let message = words.split(" at line ").next().unwrap_or_default();
    let code = match message {
        _ if error.classify() != Category::Data => Code::Syntax,
        m if m.starts_with("unknown field") => Code::UnknownKey,
        m if m.starts_with("missing field") => Code::MissingKey,
        m if m.starts_with("unknown variant") => Code::BadValue,
        _ => Code::WrongType,
    };
    // The reader stands behind what it complains of.
    placed(
        Diagnostic::new(code, message.replace("unknown field", "unknown key")).help(SHAPE),
        file,
        text,
        error.line(),
        error.column(),
    )
}

fn placed(mut fault: Diagnostic, file: &str, text: &str, line: usize, column: usize) -> Diagnostic {
    const WIDEST: usize = 120;
    let shown = super::table::harmless(text.lines().nth(line.saturating_sub(1)).unwrap_or_default());
    let from = column.saturating_sub(WIDEST);
    fault.excerpt = shown.chars().skip(from).take(WIDEST).collect();
    (fault.line, fault.column, fault.width, fault.excerpt_from) = (line, column.max(1), 1, from);
    fault.of_file(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = concat!(
        r#"{"name": "c", "input": {"messages": [{"role": "user", "content": "\ud83d\ude42"}]}, "#,
        r#""expected": {"verdict": "allow"}}"#
    );

    fn parsed(text: &str) -> Result<Suite, Diagnostic> {
        parse(Path::new("tests/a file.json"), text.as_bytes())
    }

    #[test]
    fn a_file_is_a_suite_a_list_or_one_case() {
        for (text, name) in [
            (CASE.to_owned(), "a file"),
            (format!("[{CASE}]"), "a file"),
            (format!(r#"{{"name": "s", "cases": [{CASE}]}}"#), "s"),
        ] {
            let suite = parsed(&text).unwrap();
            assert_eq!((suite.name.as_str(), suite.cases.len()), (name, 1));
            assert_eq!(suite.cases[0].input.messages[0]["content"], "🙂");
        }
    }

    #[test]
    fn what_is_no_test_is_told_with_its_place() {
        let fault = |text: &str| {
            let fault = parsed(text).unwrap_err();
            (fault.code.as_str(), fault.line)
        };
        assert_eq!(fault("[\n{,}]"), ("E017", 2));
        assert_eq!(fault("[\n{\"name\": \"a\",\n \"name\": \"b\"}]"), ("E003", 3));
        assert_eq!(fault(&CASE.replace("expected", "expcted")), ("E002", 1));
        assert_eq!(fault(&CASE.replace("allow", "pass")), ("E006", 1));
        assert_eq!(fault(&CASE.replace(r#""name": "c", "#, "")).0, "E005");
        assert_eq!(fault(&CASE.replace("messages", "massages")).0, "E002");
        assert_eq!(fault(r#"{"name": "c", "input": {}, "expected": {"verdict": "allow"}, "cases": []}"#).0, "E005");
        assert_eq!(fault(r#"{"name": "c", "input": {}, "expected": {"verdict": "allow"}}"#).0, "E005");
        assert_eq!(fault("{}").0, "E005");
    }

    #[test]
    fn a_very_long_line_is_shown_around_its_fault() {
        let text = CASE.replace("messages", &format!("{}\", \"x", "m".repeat(500)));
        assert!(parsed(&text).unwrap_err().excerpt.chars().count() <= 120);
    }
}
