//! Texts spelled out in numbers: `49 67 6e`, `0x49, 0x67`, `73 103 110`, `01001001 01100111`.

use super::map::OffsetMap;

/// Fewer numbers in a row are a table, an address or a date.
const MIN_CODES: usize = 12;
/// What may stand between two numbers: `, ` and the like.
const MAX_GAP: usize = 3;

/// The ways to write a character as a number: radix, prefix, and how many digits.
const FORMS: [Form; 4] = [
    Form { radix: 16, prefix: "", digits: 2..=2 },
    Form { radix: 16, prefix: "0x", digits: 2..=2 },
    Form { radix: 10, prefix: "", digits: 2..=3 },
    Form { radix: 2, prefix: "", digits: 7..=8 },
];

struct Form {
    radix: u32,
    prefix: &'static str,
    digits: std::ops::RangeInclusive<usize>,
}

/// Writes every run of numbers that reads as text into `out`, a line each, once for every form it may be in; false when there is
/// none.
pub fn decode(text: &str, out: &mut String, map: &mut OffsetMap) -> bool {
    let mut run = Run::default();
    let mut at = 0;
    while let Some((start, end)) = next_token(text.as_bytes(), at) {
        let characters = text.get(start..end).map(characters).unwrap_or_default();
        if start > run.end + MAX_GAP || !run.admits(&characters) {
            run.write(out, map);
            run = Run { start, ..Run::default() };
        }
        run.push(&characters);
        run.end = end;
        at = end;
    }
    run.write(out, map);
    map.finish(text.len());
    !out.is_empty()
}

/// What a token stands for, in each form.
type Characters = [Option<char>; FORMS.len()];

/// Numbers in a row, read in every form that all of them have.
#[derive(Default)]
struct Run {
    start: usize,
    end: usize,
    codes: usize,
    /// `None` once a number did not have the form.
    texts: [Option<String>; FORMS.len()],
}

impl Run {
    /// Whether some form goes on.
    fn admits(&self, next: &Characters) -> bool {
        self.codes == 0 || self.texts.iter().zip(next).any(|(text, next)| text.is_some() && next.is_some())
    }

    fn push(&mut self, next: &Characters) {
        for (text, next) in self.texts.iter_mut().zip(next) {
            match next {
                Some(c) if self.codes == 0 => *text = Some(c.to_string()),
                Some(c) => text.iter_mut().for_each(|text| text.push(*c)),
                None => *text = None,
            }
        }
        self.codes += 1;
    }

    fn write(&self, out: &mut String, map: &mut OffsetMap) {
        if self.codes < MIN_CODES {
            return;
        }
        // All the readings stand for the run as a whole.
        map.unit(out.len(), self.start);
        for text in self.texts.iter().flatten() {
            out.push_str(text);
            out.push('\n');
        }
        map.unit(out.len(), self.end);
    }
}

/// The next run of ASCII letters and digits that begins with a digit, as the number of every printable character does.
fn next_token(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let start = at + bytes.get(at..)?.iter().position(u8::is_ascii_digit)?;
        let rest = bytes.get(start..)?;
        let end = start + rest.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let inside = start.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_alphanumeric);
        if !inside {
            return Some((start, end));
        }
        at = end;
    }
}

/// The printable ASCII character, or line end, that a token stands for in each form.
fn characters(token: &str) -> Characters {
    FORMS.map(|form| {
        let digits = token.strip_prefix(form.prefix).filter(|digits| form.digits.contains(&digits.len()))?;
        let code = u8::from_str_radix(digits, form.radix).ok()?;
        (matches!(code, b' '..=b'~' | b'\n' | b'\r' | b'\t')).then_some(char::from(code))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(text: &str) -> String {
        let mut out = String::new();
        decode(text, &mut out, &mut OffsetMap::default());
        out
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
            let (mut out, mut map) = (String::new(), OffsetMap::default());
            decode(&text, &mut out, &mut map);
            let range = map.source(0..out.len());
            prop_assert!(range.start <= range.end && range.end <= text.len());
        }
    }
}
