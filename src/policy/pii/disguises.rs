//! Values of a prompt that do not stand in it as they are, though a model reads them there all the same: in full-width or
//! mathematical characters, with invisible ones inside, in escapes, base64 or hex, or split over the parts of one message.
//!
//! A text is looked at again only where a sign of that was seen; plain ASCII without long runs costs two passes of a few
//! instructions a byte. What is looked at is what [`normalize`](crate::policy::normalize) makes of it, in lower case, so credentials,
//! whose case matters, are not found there; nor is anything in answers, which could not be streamed, or inside arguments.

use super::PiiDetector;
use super::matching::Rule;
use crate::openai::request::{Channel, Prompt, Text};
use crate::policy::normalize::{Folding, Normalizer, Scratch, View};
use crate::policy::{Judgement, TextEdit};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use memchr::{memchr_iter, memchr3_iter};
use std::ops::Range;

/// Shorter runs of base64 encode no value.
const MIN_BASE64: usize = 24;
/// Shorter runs of hex neither.
const MIN_HEX: usize = 32;

/// One such value.
pub(super) struct Disguised {
    pub rule: Rule,
    /// As the prompt spells it.
    pub written: String,
    /// Where it stands: texts, in order, with byte ranges in them.
    pieces: Vec<(usize, Range<usize>)>,
}

impl PiiDetector {
    /// Adds the disguised values of a prompt to what was found in plain sight. `with` says what takes the place of one, where
    /// values are replaced at all.
    pub(super) fn unmask(
        &self,
        prompt: &Prompt<'_>,
        judgement: &mut Judgement,
        mut with: impl FnMut(&Disguised) -> Option<String>,
    ) {
        let mut found = self.veiled(prompt);
        found.extend(self.split(prompt));
        found.retain(|value| value.pieces.iter().any(|piece| !is_covered(&judgement.edits, piece)));
        if found.is_empty() {
            return;
        }
        // What of a value was found in plain sight goes with it.
        let mut pieces: Vec<_> = found.iter().flat_map(|value| &value.pieces).collect();
        pieces.sort_by_key(|(text, range)| (*text, range.start));
        let apart = |text: usize, range: &Range<usize>| {
            let behind = pieces.partition_point(|(other, piece)| (*other, piece.start) <= (text, range.start));
            let piece = behind.checked_sub(1).and_then(|last| pieces.get(last));
            range.is_empty() || piece.is_none_or(|(other, piece)| *other != text || piece.end < range.end)
        };
        judgement.findings.retain(|finding| apart(finding.text, &finding.range));
        judgement.edits.retain(|edit| apart(edit.text, &edit.range));
        for value in &found {
            let Some((first, range)) = value.pieces.first() else { continue };
            judgement.findings.push(self.shared.finding(value.rule, *first, range.clone()));
            let Some(mut with) = with(value) else { continue };
            for (text, range) in &value.pieces {
                judgement.edits.push(TextEdit { text: *text, range: range.clone(), with: std::mem::take(&mut with) });
            }
        }
        judgement.findings.sort_by_key(|finding| (finding.text, finding.range.start));
        judgement.edits = joined(std::mem::take(&mut judgement.edits));
    }

    /// Values in other characters, and encoded ones.
    fn veiled(&self, prompt: &Prompt<'_>) -> Vec<Disguised> {
        let normalizer = Normalizer::new(Folding { unicode: true, homoglyphs: false }, true);
        let mut found: Vec<Disguised> = Vec::new();
        for (index, text) in prompt.texts.iter().enumerate().filter(|(_, text)| !text.json && hides(&text.text)) {
            let from = found.len();
            normalizer.scans(&text.text, &mut Scratch::default(), |scan| {
                if matches!(scan.view(), View::Rot13 | View::Reversed) {
                    return;
                }
                for (range, rule) in self.values(scan.text()) {
                    let read = scan.text().get(range.clone()).unwrap_or_default();
                    let source = scan.source(range);
                    let written = text.text.get(source.clone()).unwrap_or_default();
                    // Digits that only stand apart are digits.
                    let plain = scan.view() == View::Plain && written.is_ascii();
                    if !plain && !written.eq_ignore_ascii_case(read) {
                        found.push(Disguised { rule, written: written.to_owned(), pieces: vec![(index, source)] });
                    }
                }
            });
            // Views of views find the same again.
            if let Some(of_text) = found.get_mut(from..) {
                of_text.sort_by_key(|value| value.pieces.first().map(|(_, range)| (range.start, std::cmp::Reverse(range.end))));
            }
        }
        found.dedup_by(|next, last| overlap(next.pieces.first(), last.pieces.first()));
        found
    }

    /// Values that begin in one part of a message and end in another.
    fn split(&self, prompt: &Prompt<'_>) -> Vec<Disguised> {
        let mut found = Vec::new();
        let is_part = |text: &Text<'_>| text.channel == Channel::Content && !text.json;
        let same = |a: &Text<'_>, b: &Text<'_>| is_part(a) && is_part(b) && a.message == b.message && a.role == b.role;
        let mut first = 0;
        for parts in prompt.texts.chunk_by(same) {
            if parts.len() > 1 {
                self.split_over(parts, first, &mut found);
            }
            first += parts.len();
        }
        found
    }

    fn split_over(&self, parts: &[Text<'_>], first: usize, found: &mut Vec<Disguised>) {
        let whole: String = parts.iter().map(|part| part.text.as_ref()).collect();
        let mut at = 0;
        let places: Vec<Range<usize>> = parts
            .iter()
            .map(|part| {
                at += part.text.len();
                at - part.text.len()..at
            })
            .collect();
        for (range, rule) in self.values(&whole) {
            let begin = places.partition_point(|place| place.end <= range.start);
            let crossed = places.iter().enumerate().skip(begin).take_while(|(_, place)| place.start < range.end);
            let pieces: Vec<_> = crossed
                .map(|(part, place)| {
                    let piece = range.start.max(place.start)..range.end.min(place.end);
                    (first + part, piece.start - place.start..piece.end - place.start)
                })
                .collect();
            if pieces.len() > 1 {
                let written = whole.get(range).unwrap_or_default().to_owned();
                found.push(Disguised { rule, written, pieces });
            }
        }
    }
}

fn overlap(a: Option<&(usize, Range<usize>)>, b: Option<&(usize, Range<usize>)>) -> bool {
    a.zip(b).is_some_and(|((text, a), (other, b))| text == other && a.start < b.end && b.start < a.end)
}

/// Whether a piece goes anyway; `edits` in order, and disjoint.
fn is_covered(edits: &[TextEdit], (text, range): &(usize, Range<usize>)) -> bool {
    let at = edits.partition_point(|edit| (edit.text, edit.range.end) < (*text, range.end));
    edits.get(at).is_some_and(|edit| edit.text == *text && edit.range.start <= range.start)
}

/// The edits in order, those that overlap as one.
fn joined(mut edits: Vec<TextEdit>) -> Vec<TextEdit> {
    edits.sort_by_key(|edit| (edit.text, edit.range.start));
    edits.dedup_by(|next, last| {
        let one = next.text == last.text && next.range.start < last.range.end;
        if one {
            last.range.end = last.range.end.max(next.range.end);
            if last.with.is_empty() {
                last.with = std::mem::take(&mut next.with);
            }
        }
        one
    });
    edits
}

/// Whether a text may hold values that do not stand in it as they are.
fn hides(text: &str) -> bool {
    escapes(text.as_bytes()) || encodes(text.as_bytes()) || (!text.is_ascii() && veils(text))
}

/// `&#106;`, `%6a`, `\u006a`, `\x6a`, `\152`, `=6a`
fn escapes(bytes: &[u8]) -> bool {
    let hex = |at: usize| bytes.get(at..at + 2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let signs = memchr3_iter(b'&', b'%', b'\\', bytes).any(|at| match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'&'), next) => next == Some(&b'#'),
        (Some(b'%'), _) => hex(at + 1),
        (_, next) => matches!(next, Some(b'u' | b'U' | b'x' | b'0'..=b'7')),
    });
    signs || memchr_iter(b'=', bytes).any(|at| hex(at + 1))
}

/// A run of base64 or hex that begins like a text. Every run long enough holds a byte whose place is a multiple of its length.
fn encodes(bytes: &[u8]) -> bool {
    let is_base64 = |b: &u8| BASE64[usize::from(*b)];
    let (mut at, mut behind) = (MIN_BASE64 - 1, 0);
    while let Some(byte) = bytes.get(at) {
        if !is_base64(byte) {
            behind = at + 1;
            at += MIN_BASE64;
            continue;
        }
        let before = bytes.get(behind..at).unwrap_or_default();
        let start = behind + before.iter().rposition(|b| !is_base64(b)).map_or(0, |last| last + 1);
        let rest = bytes.get(start..).unwrap_or_default();
        let run = rest.get(..rest.iter().position(|b| !is_base64(b)).unwrap_or(rest.len())).unwrap_or_default();
        if begins_a_text(run) {
            return true;
        }
        behind = start + run.len();
        at = behind + MIN_BASE64;
    }
    false
}

/// The digits of base64 in either alphabet, those of hex among them.
const BASE64: [bool; 256] = {
    let mut digits = [false; 256];
    let mut b = 0;
    while b < digits.len() {
        digits[b] = (b as u8).is_ascii_alphanumeric() || matches!(b as u8, b'+' | b'/' | b'-' | b'_');
        b += 1;
    }
    digits
};

fn begins_a_text(run: &[u8]) -> bool {
    let mut buffer = [0; MIN_BASE64];
    let base64 = run.get(..MIN_BASE64).and_then(|head| {
        let url = head.iter().any(|b| matches!(b, b'-' | b'_'));
        let engine = if url { BASE64_URL_SAFE_NO_PAD } else { BASE64_STANDARD_NO_PAD };
        engine.decode_slice(head, &mut buffer).ok()
    });
    if base64.and_then(|length| buffer.get(..length)).is_some_and(is_readable) {
        return true;
    }
    let mut buffer = [0; MIN_HEX / 2];
    run.get(..MIN_HEX).is_some_and(|head| hex::decode_to_slice(head, &mut buffer).is_ok()) && is_readable(&buffer)
}

/// Whether it begins a text: UTF-16 has zeros, and a character may be cut off at the end.
fn is_readable(bytes: &[u8]) -> bool {
    let cut = |error: std::str::Utf8Error| error.error_len().is_none();
    std::str::from_utf8(bytes).map_or_else(cut, |_| true)
        && bytes.iter().all(|b| !b.is_ascii_control() || matches!(b, 0 | b'\t' | b'\n' | b'\r'))
}

/// Forms of ASCII characters that are none themselves, or something invisible between two that are.
fn veils(text: &str) -> bool {
    let (mut inside, mut unseen) = (false, false);
    text.chars().any(|c| match c {
        '\u{2070}'..='\u{2089}'
        | '\u{2460}'..='\u{24ff}'
        | '\u{fe50}'..='\u{fe6b}'
        | '\u{ff10}'..='\u{ff19}'
        | '\u{ff20}'..='\u{ff3a}'
        | '\u{ff41}'..='\u{ff5a}'
        | '\u{1d400}'..='\u{1d7ff}'
        | '\u{1f100}'..='\u{1f189}'
        | '\u{1fbf0}'..='\u{1fbf9}'
        | '\u{e0020}'..='\u{e007e}' => true,
        '\u{ad}'
        | '\u{34f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}' => {
            unseen = inside;
            false
        }
        c => {
            let found = unseen && c.is_ascii_graphic();
            (inside, unseen) = (c.is_ascii_graphic(), false);
            found
        }
    })
}

#[cfg(test)]
mod tests;
