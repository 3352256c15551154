//! Texts spelled out in numbers: `49 67 6e`, `0x49, 0x67`, `73 103 110`, `01001001 01100111`.

use super::{Rewritten, bytes};

/// Fewer numbers in a row are a table, an address or a date.
const MIN_CODES: usize = 12;
/// What may stand between two numbers: `, ` and the like.
const MAX_GAP: usize = 3;

/// Ways to write a character as a number: `6e`, `0x6e`, `110`, `01101110`.
const FORMS: usize = 4;

/// The printable ASCII character, or line end, that a token stands for in each form; 0 where it stands for none.
type Characters = [u8; FORMS];

/// Writes every run of numbers that reads as text, a line each, once for every form it may be in; false when there is none.
pub fn decode(text: &str, into: &mut Rewritten) -> bool {
    let bytes = text.as_bytes();
    let mut run = Run::default();
    let mut at = 0;
    while let Some((start, end)) = next_token(bytes, at) {
        #[cfg(test)]
        super::work::count(8);
        at = end;
        let forms = bytes.get(start..end).map_or([false; FORMS], |token| characters(token).map(|code| code != 0));
        if run.codes > 0 && !(start <= run.end + MAX_GAP && run.goes_on(forms, end)) {
            run.write(bytes, into);
            run.codes = 0;
        }
        if run.codes == 0 && forms != [false; FORMS] {
            run = Run { start, end, codes: 1, forms };
        }
    }
    run.write(bytes, into);
    into.map.finish(text.len());
    !into.text.is_empty()
}

/// Numbers in a row, read in every form that all of them have.
#[derive(Default)]
struct Run {
    start: usize,
    end: usize,
    codes: usize,
    /// What all numbers so far had.
    forms: [bool; FORMS],
}

impl Run {
    /// Takes one more number, if some form goes on with it.
    fn goes_on(&mut self, forms: [bool; FORMS], end: usize) -> bool {
        let both = std::array::from_fn(|form| self.forms[form] & forms[form]);
        let goes_on = both != [false; FORMS];
        if goes_on {
            *self = Self { start: self.start, end, codes: self.codes + 1, forms: both };
        }
        goes_on
    }

    fn write(&self, bytes: &[u8], into: &mut Rewritten) {
        if self.codes < MIN_CODES {
            return;
        }
        // All the readings stand for the run as a whole.
        into.map.unit(into.text.len(), self.start);
        for (form, _) in self.forms.iter().enumerate().filter(|(_, goes)| **goes) {
            let mut at = self.start;
            while let Some((start, end)) = next_token(bytes, at).filter(|(_, end)| *end <= self.end) {
                let characters = bytes.get(start..end).map(characters).unwrap_or_default();
                into.text.extend(characters.get(form).map(|code| char::from(*code)));
                at = end;
            }
            into.text.push('\n');
        }
        into.map.unit(into.text.len(), self.end);
    }
}

/// The next run of ASCII letters and digits that begins with a digit, as the number of every printable character does.
fn next_token(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let start = at + bytes::find(bytes.get(at..)?, |b| b.wrapping_sub(b'0') < 10)?;
        at = start + 1;
        while bytes.get(at).is_some_and(u8::is_ascii_alphanumeric) {
            at += 1;
        }
        let inside = start.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphanumeric);
        if !inside {
            return Some((start, at));
        }
    }
}

/// What a token that begins with a digit stands for.
fn characters(token: &[u8]) -> Characters {
    match token {
        [_, _] => [number(token, 16), 0, number(token, 10), 0],
        [_, _, _] => [0, 0, number(token, 10), 0],
        [b'0', b'x', digits @ ..] if digits.len() == 2 => [0, number(digits, 16), 0, 0],
        _ if matches!(token.len(), 7 | 8) => [0, 0, 0, number(token, 2)],
        _ => [0; FORMS],
    }
}

fn number(digits: &[u8], radix: u32) -> u8 {
    let digit = |value: u32, digit: &u8| Some(value * radix + char::from(*digit).to_digit(radix)?);
    match digits.iter().try_fold(0, digit) {
        Some(code @ (0x20..0x7f | 0x9 | 0xa | 0xd)) => code as u8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(text: &str) -> String {
        let mut out = Rewritten::default();
        decode(text, &mut out);
        out.text
    }

    fn spelled(text: &str, separator: &str, spell: impl Fn(u8) -> String) -> String {
        text.bytes().map(spell).collect::<Vec<_>>().join(separator)
    }

    #[test]
    fn short_rows_of_numbers_are_numbers() {
        for text in ["10 20 30 40 50", "2024-05-17 12:30:45", "be ad fa ce", "call 202 555 0143 or 202 555 0144 now", ""] {
            assert_eq!(decoded(text), "", "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_text_in_numbers_is_read(text in "[ -~]{12,60}", separator in prop::sample::select(vec![" ", ", ", "-", "; "])) {
            let forms = [
                spelled(&text, separator, |b| format!("{b:02x}")),
                spelled(&text, separator, |b| format!("0x{b:02x}")),
                spelled(&text, separator, |b| format!("{b}")),
                spelled(&text, separator, |b| format!("{b:08b}")),
            ];
            for form in forms {
                prop_assert!(decoded(&form).lines().any(|line| line == text), "{form} gives {:?}", decoded(&form));
            }
        }

        #[test]
        fn a_finding_lies_inside_the_text(text in "([0-9a-fx]{1,8}[ ,]{1,2}){0,40}") {
            let mut out = Rewritten::default();
            decode(&text, &mut out);
            let range = out.map.source(0..out.text.len());
            prop_assert!(range.start <= range.end && range.end <= text.len());
        }
    }
}
