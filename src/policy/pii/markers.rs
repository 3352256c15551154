//! What takes a value's place: a label, asterisks, or the value with its telling part hidden.

use super::matching::Kind;
use std::collections::BTreeMap;

/// How a value is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MarkerFormat {
    /// `[EMAIL_REDACTED]`
    #[default]
    Label,
    /// `********`, whatever the value; as long as the value with `preserve_length`.
    Asterisk,
    /// What people recognise a value by stays: `j***@example.com`, the last four digits of a card (`****1111`), telephone
    /// (`****0143`), social security number (`***-**-6789`) or IBAN (`DE****3000`). Other kinds get their label.
    Partial,
}

/// The markers a config asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Markers {
    format: MarkerFormat,
    preserve_length: bool,
    /// By type name; these win over any format.
    custom: BTreeMap<String, String>,
}

impl Markers {
    /// Refuses custom markers for types that do not exist.
    pub fn new(format: MarkerFormat, preserve_length: bool, custom: BTreeMap<String, String>) -> Result<Markers, String> {
        if let Some(unknown) = custom.keys().find(|name| Kind::ALL.iter().all(|kind| kind.name() != name.as_str())) {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            return Err(format!("custom_markers: no type {unknown:?}; the types are {}", known.join(", ")));
        }
        Ok(Markers { format, preserve_length, custom })
    }

    /// The marker of a value, or of a part of one that `before` characters have gone before: a long value comes in parts, and its
    /// parts together have the marker of the whole.
    pub fn write(&self, kind: Kind, part: &str, before: usize) -> String {
        let custom = self.custom.get(kind.name()).map(String::as_str);
        if self.format == MarkerFormat::Partial
            && custom.is_none()
            && let Some(masked) = masked(kind, part, self.preserve_length)
        {
            return masked;
        }
        let fixed = match custom {
            Some(custom) => custom,
            None if self.format == MarkerFormat::Asterisk && self.preserve_length => "",
            None if self.format == MarkerFormat::Asterisk => "********",
            None => kind.label(),
        };
        if self.preserve_length {
            return fixed.chars().chain(std::iter::repeat('*')).skip(before).take(part.chars().count()).collect();
        }
        if before == 0 { fixed.to_owned() } else { String::new() }
    }
}

/// The value with all but its recognisable part hidden; `None` for kinds that have no such part.
fn masked(kind: Kind, value: &str, preserve_length: bool) -> Option<String> {
    match kind {
        Kind::Email => {
            let (local, domain) = value.split_once('@')?;
            let first = local.chars().next()?;
            let hidden = if preserve_length { local.chars().count() - 1 } else { 3 };
            Some(format!("{first}{}@{domain}", "*".repeat(hidden)))
        }
        Kind::Ssn if !preserve_length => Some(format!("***-**-{}", last(value, 4))),
        Kind::Iban if !preserve_length => Some(format!("{}****{}", value.get(..2)?, last(value, 4))),
        Kind::CreditCard | Kind::Phone if !preserve_length => Some(format!("****{}", last(value, 4))),
        Kind::Iban => Some(format!("{}{}", value.get(..2)?, stars(value.get(2..)?, 4))),
        Kind::Ssn | Kind::CreditCard | Kind::Phone => Some(stars(value, 4)),
        _ => None,
    }
}

/// The last `n` letters and digits.
fn last(value: &str, n: usize) -> String {
    let kept: Vec<char> = value.chars().filter(char::is_ascii_alphanumeric).collect();
    kept.iter().skip(kept.len().saturating_sub(n)).collect()
}

/// Every letter and digit hidden but the last `n`.
fn stars(value: &str, n: usize) -> String {
    let mut left = value.chars().filter(char::is_ascii_alphanumeric).count();
    let hide = |c: char| {
        if !c.is_ascii_alphanumeric() {
            return c;
        }
        left -= 1;
        if left < n { c } else { '*' }
    };
    value.chars().map(hide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(format: MarkerFormat, preserve_length: bool, kind: Kind, value: &str) -> String {
        Markers::new(format, preserve_length, BTreeMap::new()).unwrap().write(kind, value, 0)
    }

    #[test]
    fn every_format_hides_the_value_in_its_own_way() {
        use MarkerFormat::{Asterisk, Label, Partial};
        for (format, keep, kind, value, expected) in [
            (Label, false, Kind::Email, "jo@example.com", "[EMAIL_REDACTED]"),
            (Label, true, Kind::Email, "jo@example.com", "[EMAIL_REDACTE"),
            (Label, true, Kind::Ssn, "123-45-6789-and-more", "[SSN_REDACTED]******"),
            (Asterisk, false, Kind::Cvv, "123", "********"),
            (Asterisk, true, Kind::Cvv, "123", "***"),
            (Partial, false, Kind::Email, "jo.doe@example.com", "j***@example.com"),
            (Partial, true, Kind::Email, "jo.doe@example.com", "j*****@example.com"),
            (Partial, false, Kind::CreditCard, "4111 1111 1111 1111", "****1111"),
            (Partial, true, Kind::CreditCard, "4111 1111 1111 1111", "**** **** **** 1111"),
            (Partial, false, Kind::Ssn, "123456789", "***-**-6789"),
            (Partial, false, Kind::Phone, "(202) 555-0143", "****0143"),
            (Partial, true, Kind::Phone, "(202) 555-0143", "(***) ***-0143"),
            (Partial, false, Kind::Iban, "DE89 3704 0044 0532 0130 00", "DE****3000"),
            (Partial, true, Kind::Iban, "DE89370400440532013000", "DE****************3000"),
            (Partial, false, Kind::Secret, "sk-0123456789abcdef", "[SECRET_REDACTED]"),
        ] {
            assert_eq!(marker(format, keep, kind, value), expected);
        }
    }

    #[test]
    fn the_parts_of_a_long_value_add_up_to_the_marker_of_the_whole() {
        for (format, keep) in [(MarkerFormat::Label, false), (MarkerFormat::Label, true), (MarkerFormat::Asterisk, true)] {
            let markers = Markers::new(format, keep, BTreeMap::new()).unwrap();
            let whole = markers.write(Kind::Secret, "0123456789012345678901234567890", 0);
            let parts = [("0123456", 0), ("7890123456789012", 7), ("34567890", 23)];
            assert_eq!(parts.map(|(part, before)| markers.write(Kind::Secret, part, before)).concat(), whole);
        }
    }

    #[test]
    fn a_custom_marker_wins_and_an_unknown_type_is_refused() {
        let custom = BTreeMap::from([("email".to_owned(), "<mail>".to_owned())]);
        assert_eq!(Markers::new(MarkerFormat::Partial, false, custom).unwrap().write(Kind::Email, "jo@example.com", 0), "<mail>");
        let unknown = BTreeMap::from([("e-mail".to_owned(), String::new())]);
        assert!(Markers::new(MarkerFormat::Label, false, unknown).unwrap_err().contains("\"e-mail\""));
    }
}
