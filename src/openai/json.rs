//! Reads JSON where it lies, strictly and in one pass, because the gateway edits bodies in place and must not be fooled by a
//! text that two readers read differently.
//!
//! The [`Reader`] is a pull parser: the caller says what it expects next and gets byte ranges back. Nothing is copied but
//! strings with escapes, nothing recurses, nesting is bounded by [`MAX_DEPTH`].

mod keys;
mod literal;

pub use literal::{Literal, Offsets, decode, encode, encode_into, raw_range};

use keys::Keys;
use std::ops::Range;

/// Nested arrays and objects a document may have; one more is [`Problem::TooDeep`].
pub const MAX_DEPTH: usize = 256;

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct JsonError {
    /// Byte offset in the document.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// The ways in which a document can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// The grammar of RFC 8259 wants something else here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// More than [`MAX_DEPTH`] levels.
    #[error("more than {MAX_DEPTH} nested levels")]
    TooDeep,
    /// An object has one key twice; holds the path of the key.
    #[error("duplicate key `{0}`")]
    DuplicateKey(String),
}

/// The kind of a value, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number of any size.
    Number,
    /// A string.
    String,
    /// `[`
    Array,
    /// `{`
    Object,
}

/// What [`Reader::walk`] meets inside a value.
#[derive(Debug, Clone, Copy)]
pub enum Leaf<'a> {
    /// A key of an object.
    Key(Literal<'a>),
    /// A string, with the key it stands under when it is an object's member.
    String(Option<Literal<'a>>, Literal<'a>),
    /// A number.
    Number,
}

/// A pull parser over one document.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// One bit a level: set for objects, clear for arrays.
    objects: [u64; MAX_DEPTH / 64],
    /// The container entered last has given no member yet, so no comma is due.
    fresh: bool,
    keys: Option<Keys<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads `text`, tolerating duplicate keys: for answers, whose every member is looked at anyway.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, objects: [0; MAX_DEPTH / 64], fresh: false, keys: None }
    }

    /// Reads `text` and refuses duplicate keys anywhere in it: for requests, where the provider might take the other one.
    pub fn strict(text: &'a str) -> Self {
        Self { keys: Some(Keys::default()), ..Self::new(text) }
    }

    /// Byte offset of what comes next.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The kind of the next value, without taking it.
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        self.skip_blanks();
        match self.byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.expected("a value")),
        }
    }

    /// Enters an object; [`Reader::next_key`] gives its members.
    pub fn enter_object(&mut self) -> Result<(), JsonError> {
        self.enter(b'{', "an object", true)?;
        if let Some(keys) = &mut self.keys {
            keys.open();
        }
        Ok(())
    }

    /// Enters an array; [`Reader::next_element`] gives its elements.
    pub fn enter_array(&mut self) -> Result<(), JsonError> {
        self.enter(b'[', "an array", false)
    }

    /// The next key of the object entered last, with its value about to be read; `None` leaves the object.
    pub fn next_key(&mut self) -> Result<Option<Literal<'a>>, JsonError> {
        if !self.next_member(b'}', "`,` or `}`", "a key")? {
            if let Some(keys) = &mut self.keys {
                keys.close();
            }
            return Ok(None);
        }
        let key = self.string().map_err(|error| match error.problem {
            Problem::Expected("a string") => JsonError { problem: Problem::Expected("a key"), ..error },
            _ => error,
        })?;
        if self.keys.as_mut().is_some_and(|keys| !keys.add(key.decode())) {
            return Err(JsonError { at: key.quoted().start, problem: Problem::DuplicateKey(path_of_key(self.text, key)) });
        }
        self.skip_blanks();
        if self.byte() != Some(b':') {
            return Err(self.expected("`:`"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether the array entered last has another element, about to be read; `false` leaves the array.
    pub fn next_element(&mut self) -> Result<bool, JsonError> {
        self.next_member(b']', "`,` or `]`", "a value")
    }

    /// Takes a string.
    pub fn string(&mut self) -> Result<Literal<'a>, JsonError> {
        self.skip_blanks();
        if self.byte() != Some(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at + 1;
        let (end, escaped) = literal::scan(self.text.as_bytes(), start)?;
        self.at = end + 1;
        Ok(Literal::new(self.text.get(start..end).unwrap_or_default(), start, escaped))
    }

    /// Takes a number and gives its source.
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        self.skip_blanks();
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.expected("a digit")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Takes `true` or `false`.
    pub fn bool(&mut self) -> Result<bool, JsonError> {
        self.skip_blanks();
        if self.byte() == Some(b't') { self.word("true").map(|()| true) } else { self.word("false").map(|()| false) }
    }

    /// Takes `null`.
    pub fn null(&mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        self.word("null")
    }

    /// Takes any value and gives its byte range.
    pub fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        self.walk(|_| {})
    }

    /// Takes any value, shows `seen` every key, string and number in it, in order, and gives its byte range.
    pub fn walk(&mut self, mut seen: impl FnMut(Leaf<'a>)) -> Result<Range<usize>, JsonError> {
        let kind = self.kind()?;
        let start = self.at;
        let base = self.depth;
        let mut key = None;
        let mut kind = Some(kind);
        loop {
            match kind {
                Some(Kind::Object) => self.enter_object()?,
                Some(Kind::Array) => self.enter_array()?,
                Some(Kind::String) => seen(Leaf::String(key, self.string()?)),
                Some(Kind::Number) => {
                    self.number()?;
                    seen(Leaf::Number);
                }
                Some(Kind::Bool) => drop(self.bool()?),
                Some(Kind::Null) => self.null()?,
                None => {}
            }
            if self.depth == base {
                return Ok(start..self.at);
            }
            let more = if self.in_object() {
                key = self.next_key()?;
                if let Some(key) = key {
                    seen(Leaf::Key(key));
                }
                key.is_some()
            } else {
                key = None;
                self.next_element()?
            };
            kind = if more { Some(self.kind()?) } else { None };
        }
    }

    /// Checks that nothing but white space follows the document.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.at < self.text.len() { Err(self.expected("the end of the document")) } else { Ok(()) }
    }

    fn enter(&mut self, open: u8, what: &'static str, object: bool) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.byte() != Some(open) {
            return Err(self.expected(what));
        }
        let Some(bits) = self.objects.get_mut(self.depth / 64) else {
            return Err(JsonError { at: self.at, problem: Problem::TooDeep });
        };
        let bit = 1 << (self.depth % 64);
        *bits = if object { *bits | bit } else { *bits & !bit };
        self.depth += 1;
        self.at += 1;
        self.fresh = true;
        Ok(())
    }

    /// Steps over the comma that is due, or out of the container: `false`.
    fn next_member(&mut self, close: u8, due: &'static str, member: &'static str) -> Result<bool, JsonError> {
        self.skip_blanks();
        let fresh = std::mem::take(&mut self.fresh);
        match self.byte() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                Ok(false)
            }
            Some(_) if fresh => Ok(true),
            Some(b',') => {
                self.at += 1;
                self.skip_blanks();
                if self.byte() == Some(close) { Err(self.expected(member)) } else { Ok(true) }
            }
            _ => Err(self.expected(due)),
        }
    }

    fn in_object(&self) -> bool {
        let level = self.depth.saturating_sub(1);
        self.objects.get(level / 64).is_some_and(|bits| bits >> (level % 64) & 1 == 1)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        if !self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expected(&self, what: &'static str) -> JsonError {
        JsonError { at: self.at, problem: Problem::Expected(what) }
    }
}

/// The document as text: the one check of its encoding.
pub fn utf8(document: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(document).map_err(|error| JsonError { at: error.valid_up_to(), problem: Problem::Utf8 })
}

/// The path of a key, as in `messages[2].content`. Reads the document again from its start: only errors ask.
fn path_of_key(text: &str, wanted: Literal<'_>) -> String {
    let mut reader = Reader::new(text);
    let mut steps: Vec<(Option<Literal<'_>>, usize)> = Vec::new();
    loop {
        let outer = reader.depth;
        let taken = match reader.kind() {
            Ok(Kind::Object) => reader.enter_object(),
            Ok(Kind::Array) => reader.enter_array(),
            Ok(_) => reader.skip().map(drop),
            Err(error) => Err(error),
        };
        if taken.is_err() {
            return name(wanted);
        }
        if reader.depth > outer {
            steps.push((None, 0));
        }
        loop {
            let in_object = reader.in_object();
            let Some(step) = steps.last_mut() else { return name(wanted) };
            let more = if in_object {
                step.0 = reader.next_key().ok().flatten();
                step.0.is_some()
            } else {
                step.1 += 1;
                reader.next_element().unwrap_or(false)
            };
            if more {
                break;
            }
            steps.pop();
        }
        if steps.last().is_some_and(|step| step.0.is_some_and(|key| key.range() == wanted.range())) {
            return steps.iter().fold(String::new(), |path, step| match step {
                // Deeper than a person would follow.
                _ if path.len() > 200 => path,
                (Some(key), _) if path.is_empty() => name(*key),
                (Some(key), _) => path + "." + &name(*key),
                (None, count) => path + &format!("[{}]", count.saturating_sub(1)),
            });
        }
    }
}

/// A key as a path shows it: decoded, no longer than a line has room for.
fn name(key: Literal<'_>) -> String {
    let key = key.decode();
    match key.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", key.get(..end).unwrap_or_default()),
        None => key.into_owned(),
    }
}

#[cfg(test)]
pub(in crate::openai) mod tests;
