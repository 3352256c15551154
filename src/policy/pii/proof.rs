//! What is promised of every text and every cut, tried at random: the screen hides nothing, a stream is redacted like the whole
//! text, and the work grows with the text and no faster. Work is counted in bytes looked at, not in time.
//!
//! A quick round runs with every test run. The long ones:
//!
//! ```text
//! cargo test --release --lib --no-default-features pii::proof -- --ignored
//! ```

use super::matching::work;
use super::tests::{Case, cases, chars, detector, everything, streamed, whole};
use super::*;
use proptest::prelude::*;

/// A pattern nothing matches and anything may begin: every position is put to every detector, without the screen.
fn unscreened(settings: &PiiSettings) -> PiiDetector {
    detector(PiiSettings { detect_patterns: vec!["(?s:.)\u{1}NEVER\u{1}".to_owned()], ..settings.clone() })
}

/// Every mode on, no pattern.
fn screened() -> PiiSettings {
    PiiSettings { healthcare_mode: true, detect_patterns: Vec::new(), ..everything() }
}

/// A small reproducible generator (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }

    fn text(&mut self, parts: &[String]) -> String {
        (0..=self.roll(10)).map(|_| parts[self.roll(parts.len())].as_str()).collect()
    }

    fn cut<'t>(&mut self, text: &'t str) -> Vec<&'t str> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        let longest = 1 + self.roll(24);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.ceil_char_boundary(1 + self.roll(longest)));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

/// Streams a text in as many ways as are asked for, and looks at it without the screen.
fn prove(texts: usize, chunkings: usize, seed: u64) {
    let parts = fragments();
    let mut dice = Dice(seed);
    let plain = detector(PiiSettings::default());
    let all = detector(screened());
    let slow = [unscreened(&PiiSettings::default()), unscreened(&screened())];
    for _ in 0..texts {
        let text = dice.text(&parts);
        let json = dice.roll(4) == 0;
        for (fast, slow) in [&plain, &all].into_iter().zip(&slow) {
            assert_eq!(fast.find(&text), slow.find(&text), "{text:?}");
            let expected = whole(fast, &text, json);
            for _ in 0..chunkings {
                let pieces = dice.cut(&text);
                assert_eq!(streamed(fast, &pieces, json).0, expected, "{pieces:?}");
            }
        }
    }
}

#[test]
fn the_screen_hides_nothing_and_a_cut_changes_nothing() {
    prove(400, 2, 7);
}

#[test]
#[ignore = "a million chunkings take minutes"]
fn a_million_chunkings_change_nothing() {
    prove(25_000, 20, 0x5EED);
}

#[test]
fn every_case_is_found_alike_with_the_screen_and_without() {
    let (fast, slow) = (detector(screened()), unscreened(&screened()));
    for (text, _) in cases() {
        assert_eq!(fast.find(&text), slow.find(&text), "{text:?}");
    }
}

/// Bytes looked at by the detectors while a text of `size` made of `unit` is searched, for each of its bytes.
fn work_per_byte(detector: &PiiDetector, unit: &str, size: usize) -> f64 {
    let text = unit.repeat(size / unit.len().max(1) + 1);
    let before = work::done();
    let _ = detector.find(&text);
    (work::done() - before) as f64 / text.len() as f64
}

/// Units the search below found expensive, and others that look it.
#[rustfmt::skip]
const EXPENSIVE: &[&str] = &[
    "1 ", "1-", "(1", "+1 ", "tel 1", "tel 2025550143 ", "tel 1 1 1 1 1 1 1 1 ", "4111 ", "411 ", "a:b:c:", "::", "1.1.1.", "@a.", "a@a.",
    "@", "sk-", "is ", "eyJ", "token=", "token1=example2", "key:'", "-----BEGIN ", "x://a:", "https://a:b ", "number is: ", "cvv 12",
    "A ", "DE89 ", "é", "\"", "=", "= ", "_", "00 ", "0", "dapi", "Name: Ab ", "password: a ",
];

/// Bytes looked at for each byte of a text, at most.
const MOST: f64 = 120.0;

#[test]
fn the_work_grows_no_faster_than_the_text() {
    let detector = detector(screened());
    for unit in EXPENSIVE {
        let (short, long) = (work_per_byte(&detector, unit, 8 << 10), work_per_byte(&detector, unit, 64 << 10));
        assert!(long <= short * 1.25 + 1.0, "{unit:?}: {short} a byte, then {long}");
        assert!(long <= MOST, "{unit:?}: {long} a byte");
    }
}

/// Climbs from random beginnings towards units that cost more, and says which were the worst.
#[test]
#[ignore = "a search, not a check"]
fn a_search_for_expensive_texts_stays_below_the_bound() {
    let detector = detector(PiiSettings::default());
    let parts = fragments();
    let mut dice = Dice(99);
    let mut worst: Vec<(f64, String)> = Vec::new();
    for _ in 0..60 {
        let mut unit: String = dice.text(&parts).chars().take(24).collect();
        let mut cost = work_per_byte(&detector, &unit, 4 << 10);
        for _ in 0..150 {
            let mut all = chars(&unit);
            let at = dice.roll(all.len() + 1);
            let part = parts[dice.roll(parts.len())].chars().take(1 + dice.roll(4)).collect::<String>();
            match dice.roll(3) {
                0 if at < all.len() && all.len() > 1 => drop(all.remove(at)),
                1 if at < all.len() => all[at] = &part,
                _ => all.insert(at, &part),
            }
            let next: String = all.concat().chars().take(32).collect();
            let price = work_per_byte(&detector, &next, 4 << 10);
            if price > cost && !next.is_empty() {
                (unit, cost) = (next, price);
            }
        }
        worst.push((cost, unit));
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    worst.iter().take(10).for_each(|(cost, unit)| println!("{cost:8.1} {unit:?}"));
    assert!(worst.iter().all(|(cost, _)| *cost <= MOST));
}

/// What stands between values, and what values are made of.
const BETWEEN: &[&str] = &[
    " ",
    ", ",
    ".",
    ":",
    "\n",
    "-",
    "@",
    "1",
    "0",
    "4",
    "+",
    "(",
    ")",
    "/",
    "\"",
    "'",
    "=",
    "password: ",
    "call ",
    "ssn ",
    "cvv ",
    "token=",
    "a",
    "é",
    "猫",
    "🦀",
    "..",
    "\\",
    "{",
    "}",
    "x",
    "::",
    "Bearer ",
    "name on card: ",
    "\u{1d}",
    "_",
    "sk-",
    "eyJ",
];

/// The values of the cases, and the cases.
fn values() -> Vec<String> {
    let parts = |(text, spans): Case| {
        spans.into_iter().map(|(range, _)| text[range].to_owned()).chain(std::iter::once(text.clone())).collect::<Vec<_>>()
    };
    cases().into_iter().flat_map(parts).collect()
}

/// All that random texts are put together from.
fn fragments() -> Vec<String> {
    values().into_iter().chain(BETWEEN.iter().map(|&s| s.to_owned())).collect()
}

/// Values, values gone wrong, and what stands between them.
fn fragment() -> impl Strategy<Value = String> {
    let value = prop::sample::select(values());
    prop_oneof![
        4 => value.clone(),
        2 => (value, 0usize..40).prop_map(|(value, cut)| value.chars().skip(cut / 8).take(cut).collect()),
        4 => prop::sample::select(BETWEEN).prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
        1 => "[0-9 .-]{0,24}",
        1 => "[a-z.]{60,80}",
    ]
}

proptest! {
    #[test]
    fn a_stream_cut_anywhere_is_redacted_like_the_whole_text(
        fragments in prop::collection::vec(fragment(), 0..12),
        cuts in prop::collection::vec(1usize..12, 1..12),
        json in any::<bool>(),
        preserve_length in any::<bool>(),
    ) {
        let detector = detector(PiiSettings { preserve_length, ..everything() });
        let mut text = fragments.concat();
        if json {
            text = format!("{{\"a\": {}, \"b\": {text}}}", serde_json::to_string(&text).unwrap());
        }
        let expected = whole(&detector, &text, json);
        let all = chars(&text);
        let (mut pieces, mut at, mut n) = (Vec::new(), 0, 0);
        while at < all.len() {
            let next = (at + cuts[n % cuts.len()]).min(all.len());
            pieces.push(all[at..next].concat());
            (at, n) = (next, n + 1);
        }
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        prop_assert_eq!(streamed(&detector, &pieces, json).0, &expected[..]);
        let (released, held) = streamed(&detector, &all, json);
        prop_assert_eq!(released, expected);
        prop_assert!(json || held <= matching::HOLD, "{} held", held);
    }
}
