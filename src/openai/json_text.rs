//! A readable view of JSON source that may be broken or not yet complete: what tool-call arguments say once their escapes are
//! undone, with the way back to the source. A policy that reads the source itself would miss `alice\u0040example.com`.

use std::ops::Range;

/// What stands in the view for a quote that begins or ends a string literal. No text is likely to hold it, so a reader can tell
/// such a quote from an escaped one and need not look at two strings as one text.
pub const DELIMITER: char = '\u{1D}';

/// The view of one JSON source, in whole or as it arrives in pieces cut anywhere, between the characters of an escape too.
///
/// It is a reader, not a validator: an unknown escape is shown as it stands, a lone surrogate as U+FFFD, and text that is no JSON
/// at all as itself. Every offset counts bytes from the beginning of the view or of the source, whatever has been forgotten.
#[derive(Debug, Clone)]
pub struct JsonText {
    view: String,
    /// View offset of the first byte still in `view`.
    forgotten: u64,
    /// Source bytes taken so far.
    taken: u64,
    state: State,
    /// Source offset where the unfinished escape begins.
    escape: u64,
    /// Where view and source part ways; the last anchor at or before an offset speaks for it. Never empty.
    anchors: Vec<Anchor>,
}

/// From `view` on, the source runs along from `source` byte for byte.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    view: u64,
    source: u64,
    inside: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    Inside,
    /// Behind a backslash; behind a high surrogate when there is one.
    Escape(Option<u16>),
    /// Behind `\u` and some hexadecimal digits.
    Hex {
        digits: u8,
        value: u16,
        high: Option<u16>,
    },
    /// Behind an escaped high surrogate, which waits for its other half.
    High(u16),
}

impl Default for JsonText {
    fn default() -> JsonText {
        JsonText::new()
    }
}

impl JsonText {
    /// An empty view, outside any string.
    pub fn new() -> JsonText {
        let start = Anchor { view: 0, source: 0, inside: false };
        JsonText { view: String::new(), forgotten: 0, taken: 0, state: State::Outside, escape: 0, anchors: vec![start] }
    }

    /// The view of a whole source.
    pub fn whole(source: &str) -> JsonText {
        let mut text = JsonText::new();
        text.view.reserve(source.len());
        text.push(source);
        text.finish();
        text
    }

    /// Takes the next piece of source. An escape shows in the view once it is complete.
    pub fn push(&mut self, source: &str) {
        for c in source.chars() {
            self.take(c);
            self.taken += c.len_utf8() as u64;
        }
    }

    /// The source is over: an escape that was never completed is shown as U+FFFD.
    pub fn finish(&mut self) {
        if self.unfinished() {
            self.show(char::REPLACEMENT_CHARACTER, self.taken);
            self.state = State::Inside;
        }
    }

    /// The view, without what has been forgotten.
    pub fn view(&self) -> &str {
        &self.view
    }

    /// View offset at which [`JsonText::view`] begins.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Where in the source the character at a view offset begins; at the end of the view, where the next one will begin.
    pub fn source(&self, view: u64) -> u64 {
        let anchor = self.anchor(view);
        anchor.source + view.saturating_sub(anchor.view)
    }

    /// The source range behind a view range.
    pub fn source_range(&self, view: Range<u64>) -> Range<u64> {
        self.source(view.start)..self.source(view.end)
    }

    /// Whether the character at a view offset belongs to a string literal; its quotes do not.
    pub fn inside_string(&self, view: u64) -> bool {
        self.anchor(view).inside
    }

    /// Forgets the first `bytes` of the view, rounded down to a character. Forgotten text can no longer be asked about.
    pub fn forget(&mut self, bytes: usize) {
        let bytes = self.view.floor_char_boundary(bytes);
        self.view.drain(..bytes);
        self.forgotten += bytes as u64;
        let speaking = self.anchors.partition_point(|a| a.view <= self.forgotten).saturating_sub(1);
        self.anchors.drain(..speaking);
    }

    fn anchor(&self, view: u64) -> Anchor {
        let next = self.anchors.partition_point(|a| a.view <= view);
        let start = Anchor { view: 0, source: 0, inside: false };
        next.checked_sub(1).and_then(|i| self.anchors.get(i)).copied().unwrap_or(start)
    }

    fn unfinished(&self) -> bool {
        !matches!(self.state, State::Outside | State::Inside)
    }

    fn take(&mut self, c: char) {
        match self.state {
            State::Outside if c == '"' => self.quote(true),
            State::Outside => self.view.push(c),
            State::Inside if c == '"' => self.quote(false),
            State::Inside if c == '\\' => {
                self.escape = self.taken;
                self.state = State::Escape(None);
            }
            State::Inside => self.view.push(c),
            State::High(high) if c == '\\' => self.state = State::Escape(Some(high)),
            State::High(_) => {
                self.show(char::REPLACEMENT_CHARACTER, self.taken);
                self.state = State::Inside;
                self.take(c);
            }
            State::Escape(high) => self.escaped(c, high),
            State::Hex { digits, value, high } => self.hex(c, digits, value, high),
        }
    }

    /// A quote that is not escaped: the text changes sides.
    fn quote(&mut self, opens: bool) {
        let view = self.end();
        if !opens {
            self.mark(Anchor { view, source: self.taken, inside: false });
        }
        self.view.push(DELIMITER);
        if opens {
            self.mark(Anchor { view: view + 1, source: self.taken + 1, inside: true });
        }
        self.state = if opens { State::Inside } else { State::Outside };
    }

    fn escaped(&mut self, c: char, high: Option<u16>) {
        if c == 'u' {
            self.state = State::Hex { digits: 0, value: 0, high };
            return;
        }
        if high.is_some() {
            self.show(char::REPLACEMENT_CHARACTER, self.taken - 1);
            self.escape = self.taken - 1;
        }
        self.state = State::Inside;
        let after = self.taken + c.len_utf8() as u64;
        match c {
            '"' | '\\' | '/' => self.show(c, after),
            'b' => self.show('\u{8}', after),
            'f' => self.show('\u{c}', after),
            'n' => self.show('\n', after),
            'r' => self.show('\r', after),
            't' => self.show('\t', after),
            // No escape JSON knows: shown as it stands, byte for byte.
            _ => {
                self.view.push('\\');
                self.view.push(c);
            }
        }
    }

    fn hex(&mut self, c: char, digits: u8, value: u16, high: Option<u16>) {
        let Some(digit) = c.to_digit(16) else {
            self.show(char::REPLACEMENT_CHARACTER, self.taken);
            self.state = State::Inside;
            return self.take(c);
        };
        let value = value << 4 | digit as u16;
        if digits < 3 {
            self.state = State::Hex { digits: digits + 1, value, high };
            return;
        }
        self.state = State::Inside;
        let after = self.taken + 1;
        match (high, value) {
            (Some(high), 0xDC00..=0xDFFF) => {
                let code = 0x10000 + ((high as u32 & 0x3FF) << 10 | (value as u32 & 0x3FF));
                self.show(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), after);
            }
            (Some(_), _) => {
                self.show(char::REPLACEMENT_CHARACTER, after - 6);
                self.escape = after - 6;
                self.unit(value, after);
            }
            (None, _) => self.unit(value, after),
        }
    }

    /// One `\uXXXX` that completes no pair.
    fn unit(&mut self, value: u16, after: u64) {
        match value {
            0xD800..=0xDBFF => self.state = State::High(value),
            _ => self.show(char::from_u32(value as u32).unwrap_or(char::REPLACEMENT_CHARACTER), after),
        }
    }

    /// Shows what the source from `escape` to `after` means.
    fn show(&mut self, c: char, after: u64) {
        self.mark(Anchor { view: self.end(), source: self.escape, inside: true });
        self.view.push(c);
        self.mark(Anchor { view: self.end(), source: after, inside: true });
    }

    fn end(&self) -> u64 {
        self.forgotten + self.view.len() as u64
    }

    /// Remembers an anchor, unless the ones before already say the same.
    fn mark(&mut self, anchor: Anchor) {
        match self.anchors.last_mut() {
            Some(last) if last.view == anchor.view => *last = anchor,
            Some(last) if last.inside == anchor.inside && last.source + (anchor.view - last.view) == anchor.source => {}
            _ => self.anchors.push(anchor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn readable(source: &str) -> String {
        JsonText::whole(source).view().replace(DELIMITER, "'")
    }

    #[test]
    fn escapes_read_as_what_they_mean() {
        for (source, view) in [
            (r#"{"a":"x\u0040y\n\"z\\"}"#, "{'a':'x@y\n\"z\\'}"),
            (r#""\ud83d\ude00!""#, "'😀!'"),
            (r#""\ud83d!""#, "'\u{fffd}!'"),
            (r#""\ud83d\n""#, "'\u{fffd}\n'"),
            (r#""\ud83d\u0041""#, "'\u{fffd}A'"),
            (r#""\ud83d\ud83d\ude00""#, "'\u{fffd}😀'"),
            (r#""\ude00""#, "'\u{fffd}'"),
            (r#""\u00"x"#, "'\u{fffd}'x"),
            (r#""\u12"#, "'\u{fffd}"),
            (r#""\q\é""#, r"'\q\é'"),
            (r"no json \u0040 at all", r"no json \u0040 at all"),
        ] {
            assert_eq!(readable(source), view, "{source}");
        }
    }

    #[test]
    fn an_offset_in_the_view_leads_back_to_its_source() {
        let text = JsonText::whole(r#"{"k":"a\u0040b","n":12}"#);
        assert_eq!(text.view().replace(DELIMITER, "'"), "{'k':'a@b','n':12}");
        assert_eq!(text.source_range(6..9), 6..14);
        assert_eq!(text.source_range(7..8), 7..13);
        assert!(text.inside_string(6) && text.inside_string(8) && !text.inside_string(5) && !text.inside_string(9));
        assert!(text.inside_string(2) && !text.inside_string(15));
        assert_eq!(text.source_range(15..17), 20..22);
    }

    proptest! {
        #[test]
        fn a_source_cut_anywhere_gives_the_same_view(
            pieces in prop::collection::vec(prop_oneof![
                Just("\""), Just("\\"), Just("\\u"), Just("\\u00e9"), Just("\\ud83d"), Just("\\ude00"), Just("dc00"), Just("\\n"),
                Just("a"), Just("é"), Just("{"), Just("12"),
            ], 0..24),
            keep in 0usize..6,
        ) {
            let source = pieces.concat();
            let whole = JsonText::whole(&source);
            let mut parts = JsonText::new();
            let mut view = String::new();
            for (n, c) in source.char_indices() {
                parts.push(&source[n..n + c.len_utf8()]);
                let gone = parts.view().floor_char_boundary(parts.view().len().saturating_sub(keep));
                view.push_str(&parts.view()[..gone]);
                parts.forget(gone);
            }
            parts.finish();
            view.push_str(parts.view());
            prop_assert_eq!(&view, whole.view());
            for at in parts.forgotten()..=whole.view().len() as u64 {
                prop_assert_eq!(parts.source(at), whole.source(at));
                prop_assert_eq!(parts.inside_string(at), whole.inside_string(at));
            }
            prop_assert_eq!(whole.source(whole.view().len() as u64), source.len() as u64);
        }
    }
}
