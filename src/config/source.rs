//! The lines of a configuration as diagnostics may show them: secrets blotted out, control characters made harmless.

use super::diagnostic::{Diagnostic, Place};
use regex::Regex;
use std::sync::LazyLock;

/// A named text, ready to be quoted from.
pub(super) struct Source {
    name: String,
    lines: Vec<Vec<char>>,
}

/// Longest excerpt of a line, in characters.
const WIDEST: usize = 120;

/// What stands after a key that names a secret. Braces begin a reference to a secret, which is no secret.
static AFTER_SECRET_KEY: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)(?:api_?-?key|secret(?:_key)?(?:_ref)?|token|password|passwd|authorization|x-api-key)["']?\s*:\s*([^\s{][^,}]*)"#,
    )
});

/// What looks like a credential wherever it stands.
static CREDENTIAL: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)\b(?:bearer\s+([^\s,}"']{6,})|((?:c?sk|pk|rk|xai|xox[a-z])-[-_a-z0-9.]{10,}|(?:gsk|hf|gh[pousr])_[a-z0-9_]{10,}|akia[a-z0-9]{16}|eyj[-_a-z0-9.]{16,}))"#,
    )
});

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant of this file, and the tests use it")
}

/// Whether a text looks like a credential: such texts are never quoted in messages.
pub(super) fn looks_secret(text: &str) -> bool {
    CREDENTIAL.is_match(text)
}

/// A value as a message may quote it: short, on one line, and never a credential.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    if looks_secret(text) {
        return "`***`".to_owned();
    }
    let shown: String = text.chars().take(LONGEST).map(harmless).collect();
    let more = if text.chars().count() > LONGEST { "..." } else { "" };
    format!("`{shown}{more}`")
}

impl Source {
    pub fn new(name: &str, text: &str) -> Self {
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(|line| {
            let mut chars: Vec<char> = line.chars().map(harmless).collect();
            for pattern in [&*AFTER_SECRET_KEY, &*CREDENTIAL] {
                for found in pattern.captures_iter(line) {
                    for part in found.iter().skip(1).flatten() {
                        let from = line[..part.start()].chars().count();
                        blot(&mut chars, from, part.as_str().trim_end().chars().count());
                    }
                }
            }
            chars
        });
        Self { name: name.to_owned(), lines: lines.collect() }
    }

    /// Hides a value that turned out to be a secret, or might be.
    pub fn hide(&mut self, place: Place) {
        if let Some(line) = self.lines.get_mut(place.line.saturating_sub(1)) {
            blot(line, place.column.saturating_sub(1), place.width);
        }
    }

    /// Completes a diagnostic with the file's name and the line it speaks of.
    pub fn complete(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        diagnostic.file.clone_from(&self.name);
        if diagnostic.line > 0 {
            // An error at the end of the text may lie one line behind the last.
            let line = self.lines.get(diagnostic.line - 1).map_or(&[][..], Vec::as_slice);
            diagnostic.column = diagnostic.column.clamp(1, line.len() + 1);
            diagnostic.width = diagnostic.width.clamp(1, (line.len() + 1 - diagnostic.column).max(1));
            // The last characters that still show the whole fault, so that its context is before it.
            let end = diagnostic.column - 1 + diagnostic.width.min(WIDEST);
            let from = if line.len() <= WIDEST { 0 } else { end.saturating_sub(WIDEST).min(diagnostic.column - 1) };
            diagnostic.excerpt = line.iter().skip(from).take(WIDEST).collect::<String>().trim_end().to_owned();
            diagnostic.excerpt_from = from;
        }
        diagnostic
    }
}

fn blot(line: &mut [char], from: usize, width: usize) {
    for c in line.iter_mut().skip(from).take(width) {
        *c = '*';
    }
}

/// A terminal obeys control characters, and a reader is fooled by those that turn the direction of the text.
fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Code;

    fn complete(text: &str, place: Place) -> Diagnostic {
        Source::new("f.yaml", text).complete(Diagnostic::new(Code::BadValue, "no").at(place))
    }

    #[test]
    fn a_long_line_is_shown_around_its_fault() {
        let line = format!("{}here{}", "a".repeat(500), "b".repeat(500));
        let fault = complete(&line, Place { line: 1, column: 501, width: 4 });
        assert_eq!(fault.excerpt.chars().count(), WIDEST);
        assert!(fault.to_string().contains(&format!("{}here\n  | {}^^^^\n", "a".repeat(116), " ".repeat(116))), "{fault}");
        let fault = complete(&line, Place { line: 1, column: 1, width: usize::MAX });
        assert!(fault.to_string().contains(&format!("| {}\n", "^".repeat(WIDEST))), "{fault}");
    }

    #[test]
    fn a_terminal_is_never_given_control_characters() {
        let fault = complete("a: \u{1b}[2Jb\u{202e}c", Place { line: 1, column: 1, width: 1 });
        assert_eq!(fault.excerpt, "a: \u{fffd}[2Jb\u{fffd}c");
        assert_eq!(quote("a\u{1b}b"), "`a\u{fffd}b`");
    }

    #[test]
    fn what_looks_like_a_credential_is_blotted_out_wherever_it_stands() {
        for text in
            ["# sk-abcdefghijklmnop", "x: [Bearer abcdefghij]", "{api_key: abc, id: 1}", "token: 'a b c'", "a: ghp_abcdefghijkl"]
        {
            let shown = complete(text, Place { line: 1, column: 1, width: 1 }).excerpt;
            assert!(shown.contains('*') && !shown.contains("abc") && !shown.contains("b c"), "{shown}");
            assert_eq!(shown.chars().count(), text.chars().count(), "columns stay where they are");
        }
        for text in
            ["max_context_tokens: 131072", "secret_key_ref: {env: A_KEY}", "api_key_header: x-key", "# skeleton-of-a-thing"]
        {
            assert_eq!(complete(text, Place { line: 1, column: 1, width: 1 }).excerpt, text);
        }
    }
}
