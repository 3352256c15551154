//! What is wrong with a configuration, where, and what to write instead.

use serde::{Serialize, Serializer};
use std::fmt;

/// Whether a configuration can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The gateway does not start.
    Error,
    /// Allowed, and probably not meant.
    Warning,
}

macro_rules! codes {
    ($($name:ident $text:literal $title:literal)*) => {
        /// What kind of thing is wrong. The texts are stable: scripts and searches may rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: ", $title, ".")] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// `E001`, `W001`, ...
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }

            /// What the code stands for, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title),* }
            }
        }
    };
}

codes! {
    UnknownKind "E001" "unknown policy kind"
    UnknownKey "E002" "unknown key"
    DuplicateKey "E003" "duplicate key"
    WrongType "E004" "wrong type"
    MissingKey "E005" "missing key"
    BadValue "E006" "bad value"
    OutOfRange "E007" "out of range"
    DuplicateId "E008" "duplicate name"
    SecretInClear "E009" "secret in clear"
    UnknownProvider "E010" "unknown provider"
    ModelConflict "E011" "two different models for one target"
    SaidTwice "E012" "the same thing said in two places"
    BadUrl "E013" "bad URL"
    BadPattern "E014" "bad regular expression"
    UnknownTarget "E015" "unknown target"
    NotInThisBuild "E016" "not supported by this build"
    Syntax "E017" "not YAML"
    Unreadable "E018" "file cannot be read"
    TooLarge "E019" "too large or too deep"
    TooManyAliases "E020" "too many aliases"
    Ambiguous "E021" "YAML that readers understand differently"
    NoAuditLogger "W001" "no audit log"
    AuditLoggerNotLast "W002" "`audit-logger` is not last"
    BlockNotInChain "W003" "settings of a policy that does not run"
    PlainHttp "W004" "prompts and keys in clear on the network"
    NoKey "W005" "no key for this target"
    KeyPrefix "W006" "`Bearer` in a header of another kind"
    Disabled "W007" "the kill switch is on"
    NothingToFallBackTo "W008" "fallback without a second target"
    ShortRetention "W009" "retention shorter than HIPAA asks for"
    NoEffect "W010" "a setting that other settings leave without effect"
}

impl Code {
    /// Errors stop the gateway from starting; warnings do not.
    pub fn severity(self) -> Severity {
        if self.as_str().starts_with('E') { Severity::Error } else { Severity::Warning }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where a key or value begins in the source, and how wide it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// In characters, at least 1; beyond the end of the line when the value goes on below.
    pub width: usize,
}

impl Place {
    /// The beginning of a file.
    pub const START: Place = Place { line: 1, column: 1, width: 1 };
}

/// One thing that is wrong. `Display` is for people, `Serialize` for machines; neither ever shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// What kind of thing is wrong.
    pub code: Code,
    /// What is wrong, in a sentence without a full stop.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The file, as the caller named it.
    pub file: String,
    /// Counted from 1; 0 when the whole file is meant.
    pub line: usize,
    /// Counted from 1 in characters; 0 when the whole file is meant.
    pub column: usize,
    /// Characters the fault spans on that line; at least 1 when there is a line.
    pub width: usize,
    /// That line, or the part of a long line around the fault, secrets blotted out; empty when the whole file is meant.
    pub excerpt: String,
    /// Characters of the line left out before the excerpt.
    pub excerpt_from: usize,
}

impl Diagnostic {
    /// A diagnostic of no place yet.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: code.severity(),
            code,
            message: message.into(),
            help: None,
            file: String::new(),
            line: 0,
            column: 0,
            width: 0,
            excerpt: String::new(),
            excerpt_from: 0,
        }
    }

    /// Says where; the excerpt comes with the source.
    pub(super) fn at(self, place: Place) -> Self {
        Self { line: place.line, column: place.column, width: place.width, ..self }
    }

    /// Says what to write instead.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names the file, when no line can be named.
    pub fn of_file(mut self, file: &str) -> Self {
        self.file = file.to_owned();
        self
    }

    /// The text for people, with terminal colours if asked for.
    pub fn render(&self, color: bool) -> String {
        let paint = |style: &str, text: &str| if color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() };
        let (word, style) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let mut out = format!(
            "{}{} {}\n",
            paint(style, &format!("{word}[{}]", self.code.as_str())),
            paint("1", ":"),
            paint("1", &self.message)
        );
        let gutter = self.line.to_string().len().max(1);
        let pad = " ".repeat(gutter);
        let bar = paint("1;34", "|");
        let arrow = paint("1;34", "-->");
        if self.line == 0 {
            out += &format!("{pad}{arrow} {}\n", self.file);
        } else {
            let number = paint("1;34", &format!("{:>gutter$}", self.line));
            // What goes on beyond the excerpt is not underlined.
            let indent = self.column.saturating_sub(self.excerpt_from + 1);
            let room = self.excerpt.chars().count().saturating_sub(indent).max(1);
            let caret = paint(style, &"^".repeat(self.width.clamp(1, room)));
            let excerpt = &self.excerpt;
            out += &format!("{pad}{arrow} {}:{}:{}\n", self.file, self.line, self.column);
            out += &format!("{pad} {bar}\n{number} {bar} {excerpt}\n{pad} {bar} {}{caret}\n", " ".repeat(indent));
        }
        if let Some(help) = &self.help {
            out += &format!("{pad} {} help: {help}\n", paint("1;34", "="));
        }
        out
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_fault() {
        let mut fault =
            Diagnostic::new(Code::BadValue, "no").at(Place { line: 7, column: 3, width: 2 }).help("yes").of_file("f.yaml");
        fault.excerpt = "a bc".into();
        assert_eq!(fault.to_string(), "error[E006]: no\n --> f.yaml:7:3\n  |\n7 | a bc\n  |   ^^\n  = help: yes\n");
        assert!(fault.render(true).contains("\x1b["));
    }

    #[test]
    fn codes_are_unique_and_named() {
        let mut codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| !code.title().is_empty()));
    }
}
