//! Redaction of one text as it arrives. Whole texts go through the same steps in one piece, so that a stream and a whole answer
//! cannot be redacted differently.

use super::candidates::{Piece, Scan};
use super::matching::Input;
use super::{Action, Shared};
use crate::openai::json_text::{DELIMITER, JsonText};
use crate::policy::{Change, Flow, Released, Replacement, Watch};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of decided text a watch lets gather before it forgets them in one move.
const GATHER: usize = 1024;

/// Watches one channel for personal data.
#[derive(Clone)]
pub(super) struct PiiWatch {
    carry: Carry,
    redaction: Redaction,
}

/// How far a text is redacted.
#[derive(Clone)]
pub(super) struct Redaction {
    shared: Arc<Shared>,
    scan: Scan,
    /// The first piece of a long match: where it began, and how many of its characters are gone.
    long: Option<(u64, usize)>,
    blocked: bool,
}

/// The text still needed: what is not decided, and the little to its left that detectors may look at.
#[derive(Clone)]
enum Carry {
    Plain { text: String, forgotten: u64 },
    Json(JsonText),
}

/// A text to be redacted, with the way back to the channel it stands in.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    Plain { text: &'a str, forgotten: u64 },
    Json(&'a JsonText),
}

impl PiiWatch {
    pub fn new(shared: Arc<Shared>, json: bool) -> PiiWatch {
        let carry = if json { Carry::Json(JsonText::new()) } else { Carry::Plain { text: String::new(), forgotten: 0 } };
        PiiWatch { carry, redaction: Redaction::new(shared) }
    }

    #[inline]
    fn advance(&mut self, ended: bool, out: &mut Released) -> Flow {
        let flow = self.redaction.advance(self.carry.view(), ended, out);
        let settled = self.redaction.scan.settled();
        if settled >= GATHER {
            self.redaction.scan.forget(self.carry.forget(settled));
        }
        flow
    }
}

impl Redaction {
    pub fn new(shared: Arc<Shared>) -> Redaction {
        Redaction { shared, scan: Scan::default(), long: None, blocked: false }
    }

    /// Decides what can be decided and reports it.
    #[inline]
    pub fn advance(&mut self, view: View<'_>, ended: bool, out: &mut Released) -> Flow {
        if self.blocked {
            return Flow::Block;
        }
        let input = Input { bytes: view.text().as_bytes(), ended };
        while let Some(piece) = self.scan.next(&self.shared.detectors, &input) {
            if self.report(view, &piece, out) == Flow::Block {
                self.blocked = true;
                return Flow::Block;
            }
        }
        out.upto = view.place(self.scan.pos);
        Flow::Continue
    }

    #[inline(never)]
    fn report(&mut self, view: View<'_>, piece: &Piece, out: &mut Released) -> Flow {
        let range = view.place(piece.start)..view.place(piece.end);
        let value = view.text().get(piece.start..piece.end).unwrap_or_default();
        let (start, before) = self.long.filter(|_| !piece.first).unwrap_or((range.start, 0));
        let block = self.shared.action == Action::Block;
        if piece.last || block {
            out.findings.push(self.shared.finding(piece.rule, 0, start as usize..range.end as usize));
        }
        if block {
            return Flow::Block;
        }
        let marker = self.shared.markers.write(piece.rule.kind, value, before);
        let with = view.fit(piece, value, marker, before);
        self.long = (!piece.last).then_some((start, before + value.chars().count()));
        if !range.is_empty() {
            out.replacements.push(Replacement { range, with, change: Change::Redacts });
        }
        Flow::Continue
    }
}

impl Watch for PiiWatch {
    fn feed(&mut self, delta: &str, out: &mut Released) -> Flow {
        self.carry.push(delta);
        self.advance(false, out)
    }

    fn end(&mut self, out: &mut Released) -> Flow {
        if let Carry::Json(json) = &mut self.carry {
            json.finish();
        }
        self.advance(true, out)
    }

    fn fork(&self) -> Box<dyn Watch> {
        Box::new(self.clone())
    }
}

impl Carry {
    fn push(&mut self, delta: &str) {
        match self {
            Carry::Plain { text, .. } => {
                if text.capacity() == 0 {
                    text.reserve(2 * GATHER);
                }
                text.push_str(delta);
            }
            Carry::Json(json) => json.push(delta),
        }
    }

    fn view(&self) -> View<'_> {
        match self {
            Carry::Plain { text, forgotten } => View::Plain { text, forgotten: *forgotten },
            Carry::Json(json) => View::Json(json),
        }
    }

    /// Forgets at most the first `bytes`; how many it were.
    fn forget(&mut self, bytes: usize) -> usize {
        match self {
            Carry::Plain { text, forgotten } => {
                let bytes = text.floor_char_boundary(bytes);
                text.drain(..bytes);
                *forgotten += bytes as u64;
                bytes
            }
            Carry::Json(json) => {
                let before = json.forgotten();
                json.forget(bytes);
                (json.forgotten() - before) as usize
            }
        }
    }
}

impl<'a> View<'a> {
    fn text(self) -> &'a str {
        match self {
            View::Plain { text, .. } => text,
            View::Json(json) => json.view(),
        }
    }

    /// The channel offset of an offset in [`View::text`].
    fn place(self, at: usize) -> u64 {
        match self {
            View::Plain { forgotten, .. } => forgotten + at as u64,
            View::Json(json) => json.source(json.forgotten() + at as u64),
        }
    }

    /// Makes a marker fit for where it goes: JSON stays JSON. Of a long value outside a string only the first part has one.
    fn fit(self, piece: &Piece, value: &str, marker: String, before: usize) -> String {
        match self {
            View::Plain { .. } => marker,
            View::Json(json) if before > 0 && !json.inside_string(json.forgotten() + piece.start as u64) => String::new(),
            View::Json(json) => fit(json, piece.start..piece.end, value, &marker),
        }
    }
}

/// Makes a marker fit for a range of a view of JSON. Inside a string it is escaped. A bare number becomes a string; a part of a
/// number, of which nothing but digits may be left, becomes 0.
pub(super) fn fit(json: &JsonText, range: Range<usize>, value: &str, marker: &str) -> String {
    if json.inside_string(json.forgotten() + range.start as u64) {
        return escaped(marker);
    }
    let text = json.view().as_bytes();
    let left = range.start.checked_sub(1).and_then(|i| text.get(i));
    let alone = matches!(left, None | Some(b':' | b',' | b'[' | b' ' | b'\n' | b'\r' | b'\t'));
    let right = text.get(range.end);
    let ends = matches!(right, None | Some(b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
    if (!alone || !ends) && value.bytes().all(|b| b.is_ascii_digit()) {
        return "0".to_owned();
    }
    format!("\"{}\"", escaped(marker))
}

/// A marker as it stands inside a JSON string.
fn escaped(marker: &str) -> String {
    let mut out = String::with_capacity(marker.len());
    for c in marker.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            DELIMITER | '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            _ => out.push(c),
        }
    }
    out
}
