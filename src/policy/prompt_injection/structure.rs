//! What an attack looks like rather than says: chat-template tokens, fake ends and speakers, images that carry data out.

use super::table::lines;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::ops::Range;

/// A URL is looked at this far.
const MAX_URL: usize = 2048;
/// The `![` of an image is looked for this far back from its `](`.
const MAX_ALT: usize = 256;

/// Whose switch a marker answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// `boundaries.enforce_delimiters`
    Delimiter,
    /// `boundaries.reject_fake_boundaries`
    Boundary,
}

/// One marker found.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    pub rule: &'static str,
    pub score: f32,
    /// Bytes in the folded text.
    pub range: Range<usize>,
    /// It stands alone in quotation marks, as in code that handles it.
    pub muted: bool,
}

/// The markers, as one automaton.
#[derive(Debug)]
pub struct Structure {
    markers: Vec<Marker>,
    automaton: AhoCorasick,
}

#[derive(Debug)]
struct Marker {
    rule: &'static str,
    score: f32,
    at_line_start: bool,
    is_image: bool,
}

impl Structure {
    /// Reads a marker file, leaving out the groups not in `groups`. The built-in one always parses.
    pub fn read(file: &'static str, groups: &[Group]) -> Result<Self, String> {
        let mut markers = vec![Marker { rule: "exfil.image", score: 0.0, at_line_start: false, is_image: true }];
        let mut literals = vec!["](http"];
        for line in lines(file) {
            let (marker, group, literal) = Marker::parse(line).ok_or_else(|| format!("not a marker: {line}"))?;
            if groups.contains(&group) {
                markers.push(marker);
                literals.push(literal);
            }
        }
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::DFA))
            .match_kind(MatchKind::LeftmostLongest)
            .build(&literals)
            .map_err(|error| error.to_string())?;
        Ok(Self { markers, automaton })
    }

    /// Calls `found` for every marker in the folded `text`.
    pub fn find(&self, text: &str, mut found: impl FnMut(Mark)) {
        let mut images = Images::default();
        for hit in self.automaton.find_iter(text) {
            let Some(marker) = self.markers.get(hit.pattern().as_usize()) else { continue };
            if marker.is_image {
                if let Some((score, range)) = images.next(text.as_bytes(), hit.start()) {
                    found(Mark { rule: marker.rule, score, range, muted: false });
                }
            } else if !marker.at_line_start || begins_line(text, hit.start()) {
                let muted = is_quoted(text, &hit.range());
                found(Mark { rule: marker.rule, score: marker.score, range: hit.range(), muted });
            }
        }
    }
}

impl Marker {
    fn parse(line: &'static str) -> Option<(Self, Group, &'static str)> {
        let (rule, rest) = line.split_once(' ')?;
        let (score, rest) = rest.split_once(' ')?;
        let (group, literal) = rest.split_once(' ')?;
        let group = match group {
            "delimiter" => Group::Delimiter,
            "boundary" => Group::Boundary,
            _ => return None,
        };
        let (at_line_start, literal) = literal.strip_prefix('^').map_or((false, literal), |literal| (true, literal));
        Some((Self { rule, score: score.parse().ok()?, at_line_start, is_image: false }, group, literal))
    }
}

/// Whether only spaces and quote or list signs stand between the beginning of the line and `at`.
fn begins_line(text: &str, at: usize) -> bool {
    let before = text.as_bytes().get(at.saturating_sub(16)..at).unwrap_or_default();
    let signs = before.iter().rev().take_while(|b| matches!(b, b' ' | b'\t' | b'>' | b'*' | b'-')).count();
    match before.len().checked_sub(signs + 1).and_then(|last| before.get(last)) {
        Some(b) => *b == b'\n',
        None => at <= 16,
    }
}

/// Whether nothing but a pair of quotation marks is around the marker.
fn is_quoted(text: &str, range: &Range<usize>) -> bool {
    let quote = |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(|b| matches!(b, b'"' | b'\'' | b'`'));
    quote(range.start.checked_sub(1)) && quote(Some(range.end))
}

/// The images of a text, looked at in order: each byte once or twice, however many begin in the URL of another.
#[derive(Default)]
struct Images {
    /// The last `![` before `opened`.
    open: Option<usize>,
    opened: usize,
    /// No `)` and no end of a line stands from where it was last asked up to here; one stands here, unless the text or patience ended.
    end: usize,
    /// What was looked at as a URL.
    read: usize,
}

impl Images {
    /// The image whose `](` stands at `middle`, if its URL has a query: how suspicious, and where.
    fn next(&mut self, text: &[u8], middle: usize) -> Option<(f32, Range<usize>)> {
        let before = text.get(self.opened..middle)?;
        if let Some(last) = memchr::memmem::rfind(before, b"![") {
            self.open = Some(self.opened + last);
        }
        self.opened = middle;
        let start = self.open.filter(|open| middle - open <= MAX_ALT)?;
        let url = middle + 2;
        if url < self.read {
            // It lies in the URL of an image that has been judged, with all that could be said of this one.
            return None;
        }
        let from = self.end.max(url);
        let ahead = text.get(from..text.len().min(url + MAX_URL)).unwrap_or_default();
        self.end = from + memchr::memchr2(b')', b'\n', ahead).unwrap_or(ahead.len());
        if self.end >= url + MAX_URL || !text.get(self.end).is_some_and(|b| matches!(b, b')' | b'\n')) {
            return None;
        }
        self.read = self.end;
        Some((suspicion(text.get(url..self.end)?)?, start..self.end + 1))
    }
}

/// How suspicious a URL with a query is.
///
/// Badges in a README have fixed queries. A placeholder for the model to fill in, or a parameter named after the conversation, does not
/// happen in one.
fn suspicion(url: &[u8]) -> Option<f32> {
    const NAMES: [&[u8]; 11] =
        [b"data", b"secret", b"conversation", b"chat", b"history", b"prompt", b"leak", b"exfil", b"summary", b"info", b"msg"];
    let query = url.get(memchr::memchr(b'?', url)? + 1..)?;
    let placeholder = query.iter().any(|b| matches!(b, b'{' | b'[' | b'<' | b'$' | b' ')) || url.ends_with(b"=");
    let named = memchr::memchr_iter(b'=', query)
        .any(|at| NAMES.iter().any(|name| query.get(..at).is_some_and(|before| before.ends_with(name))));
    Some(match (placeholder, named) {
        (true, true) => 0.9,
        (true, false) => 0.7,
        (false, true) => 0.5,
        (false, false) => 0.1,
    })
}
