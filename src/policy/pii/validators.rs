//! Arithmetic and tables that tell a real value from digits of the same shape: check digits, issuer ranges, lengths by country.

/// The Luhn check over decimal digits (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(n, &d)| {
            let d = u32::from(d.wrapping_sub(b'0'));
            if n % 2 == 0 { d } else { d * 2 - if d > 4 { 9 } else { 0 } }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A payment card number as its digits are read: a known issuer, a length it uses, the check digit.
#[derive(Debug, Default)]
pub(super) struct CardNumber {
    len: usize,
    prefix: u32,
    last: u8,
    varied: bool,
    /// The lengths the issuer uses, a bit each.
    lengths: u32,
    /// The Luhn sum of the digits so far, and the one in which the last of them counts twice.
    sums: (u32, u32),
}

impl CardNumber {
    /// Reads a digit. `false` when no card number goes on like this.
    pub fn push(&mut self, digit: u8) -> bool {
        let d = u32::from(digit.wrapping_sub(b'0'));
        self.sums = (self.sums.1 + d, self.sums.0 + d * 2 - if d > 4 { 9 } else { 0 });
        self.varied |= self.len > 0 && digit != self.last;
        self.last = digit;
        self.len += 1;
        if self.len > 6 {
            return self.len <= 19;
        }
        self.prefix = self.prefix * 10 + d;
        if matches!(self.len, 3 | 6) {
            self.lengths = lengths(self.prefix, self.len);
        }
        self.len < 3 || self.lengths != 0
    }

    /// How many digits were read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the digits read so far are a number in use.
    pub fn is_real(&self) -> bool {
        self.len >= 6 && self.lengths >> self.len & 1 == 1 && self.sums.0.is_multiple_of(10) && self.varied
    }
}

/// Whether any card number could begin with these digits, so that a year or a price opens no candidate.
pub(super) fn card_may_begin(digits: &[u8]) -> bool {
    let known = digits.get(..6).unwrap_or(digits);
    let prefix = known.iter().fold(0, |value, d| value * 10 + u32::from(d.wrapping_sub(b'0')));
    lengths(prefix, known.len()) != 0
}

/// The lengths in use for numbers that begin with these digits, at most six. Issuers are told apart by no more.
fn lengths(prefix: u32, digits: usize) -> u32 {
    let scale = [1_000_000, 100_000, 10_000, 1000, 100, 10, 1].get(digits).copied().unwrap_or(1);
    let (low, high) = (prefix * scale, prefix * scale + scale - 1);
    let first = ISSUERS.partition_point(|&(_, to, _)| to < low);
    ISSUERS.get(first).filter(|(from, _, _)| *from <= high).map_or(0, |&(_, _, lengths)| lengths)
}

const fn bits(lengths: &[u32]) -> u32 {
    let (mut bits, mut n) = (0, 0);
    while n < lengths.len() {
        bits |= 1 << lengths[n];
        n += 1;
    }
    bits
}

/// First six digits from, to, and the lengths in use (issuer ranges as published by the networks), in order.
const ISSUERS: &[(u32, u32, u32)] = &[
    (180_000, 180_099, bits(&[15])),
    (213_100, 213_199, bits(&[15])),
    (222_100, 272_099, bits(&[16])),
    (300_000, 305_999, bits(&[14])),
    (309_500, 309_599, bits(&[14])),
    (340_000, 349_999, bits(&[15])),
    (352_800, 358_999, bits(&[16, 17, 18, 19])),
    (360_000, 369_999, bits(&[14, 15, 16, 17, 18, 19])),
    (370_000, 379_999, bits(&[15])),
    (380_000, 399_999, bits(&[14, 16])),
    (400_000, 499_999, bits(&[13, 16, 19])),
    (500_000, 509_999, bits(&[12, 13, 14, 15, 16, 17, 18, 19])),
    (510_000, 559_999, bits(&[16])),
    (560_000, 589_999, bits(&[12, 13, 14, 15, 16, 17, 18, 19])),
    (601_100, 601_199, bits(&[16, 19])),
    (620_000, 629_999, bits(&[16, 17, 18, 19])),
    (630_000, 639_999, bits(&[12, 13, 14, 15, 16, 17, 18, 19])),
    (644_000, 659_999, bits(&[16, 19])),
    (670_000, 679_999, bits(&[12, 13, 14, 15, 16, 17, 18, 19])),
];

/// A US social security number that could have been issued: no area 000, 666 or 9xx, no group 00, no serial 0000 (ssa.gov).
/// The well-known sample numbers count: somebody who types one expects to see it handled.
pub(super) fn ssn(digits: &[u8]) -> bool {
    let [a, b, c, d, e, rest @ ..] = digits else { return false };
    rest.len() == 4 && ![b"000", b"666"].contains(&&[*a, *b, *c]) && *a != b'9' && (*d, *e) != (b'0', b'0') && rest != b"0000"
}

/// A US national provider identifier: ten digits whose Luhn sum counts the prefix 80840 (45 CFR 162.406).
pub(super) fn npi(digits: &[u8]) -> bool {
    let mut prefixed = *b"808400000000000";
    match prefixed.get_mut(5..) {
        Some(tail) if tail.len() == digits.len() => tail.copy_from_slice(digits),
        _ => return false,
    }
    matches!(digits.first(), Some(b'1' | b'2')) && luhn(&prefixed)
}

/// Length of an IBAN by its country letters (SWIFT IBAN registry).
pub(super) fn iban_length(country: [u8; 2]) -> Option<usize> {
    static LENGTHS: [u8; 26 * 26] = {
        let mut lengths = [0; 26 * 26];
        let mut n = 0;
        while n < IBANS.len() {
            let (code, length) = IBANS[n];
            lengths[(code.as_bytes()[0] - b'A') as usize * 26 + (code.as_bytes()[1] - b'A') as usize] = length;
            n += 1;
        }
        lengths
    };
    let [first, second] = country.map(|c| usize::from(c.wrapping_sub(b'A')));
    let length = LENGTHS.get(first * 26 + second).filter(|&&length| second < 26 && length > 0);
    length.map(|&length| usize::from(length))
}

/// The mod-97 check of an IBAN without spaces (ISO 7064).
pub(super) fn iban(text: &[u8]) -> bool {
    let (Some(head), Some(tail)) = (text.get(..4), text.get(4..)) else { return false };
    let mut rest = 0u32;
    for &b in tail.iter().chain(head) {
        rest = match b {
            b'0'..=b'9' => rest * 10 + u32::from(b - b'0'),
            b'A'..=b'Z' => rest * 100 + u32::from(b - b'A') + 10,
            _ => return false,
        } % 97;
    }
    rest == 1
}

#[rustfmt::skip]
const IBANS: &[(&str, u8)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22), ("BH", 22), ("BI", 27),
    ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22), ("DJ", 27), ("DK", 18), ("DO", 28),
    ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18), ("FK", 18), ("FO", 18), ("FR", 27), ("GB", 22), ("GE", 22), ("GI", 23),
    ("GL", 18), ("GR", 27), ("GT", 28), ("HR", 21), ("HU", 28), ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26), ("IT", 27),
    ("JO", 30), ("KW", 30), ("KZ", 20), ("LB", 28), ("LC", 32), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("LY", 25),
    ("MC", 27), ("MD", 24), ("ME", 22), ("MK", 19), ("MN", 20), ("MR", 27), ("MT", 31), ("MU", 30), ("NI", 28), ("NL", 18),
    ("NO", 15), ("OM", 23), ("PK", 24), ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("RU", 33),
    ("SA", 24), ("SC", 31), ("SD", 18), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("SO", 23), ("ST", 25), ("SV", 28),
    ("TL", 23), ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22), ("VG", 24), ("XK", 20), ("YE", 30),
];

/// Bits of Shannon entropy a byte. Random tokens of twenty characters lie above 3.5, words and repeated fillers below 3.
pub(super) fn entropy(text: &[u8]) -> f32 {
    let mut counts = [0u16; 256];
    for &b in text {
        if let Some(count) = counts.get_mut(usize::from(b)) {
            *count = count.saturating_add(1);
        }
    }
    let total = text.len() as f32;
    counts.iter().filter(|&&n| n > 0).map(|&n| f32::from(n) / total).map(|p| -p * p.log2()).sum()
}

/// How many different bytes a text is made of.
pub(super) fn distinct(text: &[u8]) -> u32 {
    text.iter().fold(0u128, |seen, &b| seen | 1 << (b & 127)).count_ones()
}

/// What documentation writes where a secret would stand.
pub(super) fn placeholder(text: &[u8]) -> bool {
    distinct(text) < 5
        || text.iter().enumerate().any(|(at, b)| {
            let words: &[&[u8]] = match b | 0x20 {
                b'c' => &[b"changeme"],
                b'd' => &[b"dummy"],
                b'e' => &[b"example"],
                b'p' => &[b"placeholder"],
                b'r' => &[b"redacted", b"replace"],
                b'x' => &[b"xxxx"],
                b'y' => &[b"your"],
                b'*' => &[b"****"],
                b'.' => &[b"...."],
                _ => return false,
            };
            words.iter().any(|word| goes_on(text, at, word))
        })
}

/// Whether `text` goes on with `word` at `at`, in letters of any case.
pub(super) fn goes_on(text: &[u8], at: usize, word: &[u8]) -> bool {
    text.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(digits: &[u8]) -> bool {
        let mut number = CardNumber::default();
        digits.iter().all(|&digit| number.push(digit)) && number.is_real()
    }

    #[test]
    fn sample_card_numbers_of_every_network_pass_and_their_neighbours_fail() {
        for number in [
            "4111111111111111",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "6011111111111117",
            "3530111333300000",
            "30569309025904",
            "36227206271667",
            "6200000000000005",
            "4222222222222",
        ] {
            let mut digits = number.as_bytes().to_vec();
            assert!(card(&digits), "{number}");
            assert!((0..=6).all(|n| card_may_begin(&digits[..n])), "{number}");
            let last = digits.len() - 1;
            digits[last] = b'0' + (digits[last] - b'0' + 1) % 10;
            assert!(!card(&digits), "{number} with a wrong check digit");
        }
        assert!(!card(b"0000000000000000") && !card(b"9999999999999995"));
        assert!(!card_may_begin(b"1999") && !card_may_begin(b"2024") && !card_may_begin(b"0"));
    }

    #[test]
    fn numbers_that_were_never_issued_are_no_social_security_numbers() {
        for (digits, real) in [
            ("123456789", true),
            ("000456789", false),
            ("666456789", false),
            ("900456789", false),
            ("123006789", false),
            ("123450000", false),
            ("12345678", false),
        ] {
            assert_eq!(ssn(digits.as_bytes()), real, "{digits}");
        }
    }

    #[test]
    fn account_and_provider_numbers_are_checked_by_their_own_sums() {
        assert!(iban(b"DE89370400440532013000") && !iban(b"DE88370400440532013000") && iban(b"GB29NWBK60161331926819"));
        assert_eq!(iban_length(*b"DE"), Some(22));
        assert!(npi(b"1234567893") && !npi(b"1234567890") && !npi(b"123456789"));
    }

    #[test]
    fn fillers_are_told_from_random_tokens() {
        assert!(entropy(b"q7Zp2LmX9vT4bKd8") > 3.3 && entropy(b"aaaaaaaabbbbbbbb") < 1.1);
        assert!(placeholder(b"YOUR_API_KEY_HERE") && placeholder(b"xxxxxxxxxxxx") && !placeholder(b"q7Zp2LmX9vT4bKd8"));
    }
}
