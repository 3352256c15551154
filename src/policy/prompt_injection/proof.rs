//! What is promised of the cost of every text: the work grows with the text and no faster, and stays within a bound for the worst that
//! a search came up with. Work is counted in steps of about ten instructions, not in time (`normalize::work`).
//!
//! ```text
//! cargo test --release --lib --no-default-features prompt_injection::proof -- --ignored --nocapture
//! ```

use super::*;
use crate::policy::normalize::work;

/// Steps a byte may cost, decoded views and all.
const MOST: f64 = 40.0;

/// Units that cost most when repeated, of those the search and people tried; `loadtest/micro/injection.rs` counts their instructions.
#[rustfmt::skip]
const EXPENSIVE: &[&str] = &[
    " ", "a", "a ", "ab ", "a1 ", "1 ", "22 ", "no ", "not ", "you re ", "prompt do sistema ", "ignore all previous ", "chatgpt ", "direttiv",
    "ignorealprevious", "![](http", "](http", "<|im_", "### system:\n", "\n", "\n\na", "\"", "'", "!a", "@", "$", "&", "&#105;", "&amp;", "&amp;#x67;", "%69",
    "%", "=69", "\\", "\\u0069", "QUJD", "aWdub3JlIGFsbA", "69676e6f", "49 67 6e ", "73 103 110 ", "rot13 reversed ", "i g ", "і", "іa", "а", "ба ", "é",
    "e\u{301}", "\u{301}", "\u{200b}", "\u{ad}", "ﷺ", "㍿", "㍿ ", "ß", "Й", "и\u{306}", "が", "한", "忽略", "你 ", "\u{e0061}", "\u{1f3f4}", "İ", "𝐛", "\u{fe0f}", "…",
];

/// Steps for each byte of a text of `size` made of `unit`.
fn work_per_byte(policy: &PromptInjection, unit: &str, size: usize) -> f64 {
    let text = unit.repeat(size / unit.len() + 1);
    let before = work::done();
    let _ = policy.explain(&text);
    (work::done() - before) as f64 / text.len() as f64
}

fn policy() -> PromptInjection {
    PromptInjection::new(InjectionSettings::default()).unwrap()
}

#[test]
fn the_work_grows_no_faster_than_the_text_and_stays_within_a_bound() {
    let policy = policy();
    for unit in EXPENSIVE {
        let (short, long) = (work_per_byte(&policy, unit, 2 << 10), work_per_byte(&policy, unit, 16 << 10));
        assert!(long <= short * 1.25 + 1.0, "{unit:?}: {short} a byte, then {long}");
        assert!(long <= MOST, "{unit:?}: {long} a byte");
    }
}

/// Climbs from random beginnings towards units that cost more, and says which were the worst.
#[test]
#[ignore = "a search, not a check"]
fn a_search_for_expensive_texts_stays_below_the_bound() {
    let policy = policy();
    let lexicon = table::lines(include_str!("lexicon.txt")).filter_map(|line| line.split_once(':'));
    let words = lexicon.flat_map(|(_, words)| words.split(',').map(|word| word.trim().trim_end_matches('*')));
    let parts: Vec<&str> = EXPENSIVE.iter().copied().chain(words).filter(|part| !part.is_empty()).collect();
    let mut state = 99_u64;
    let mut roll = |sides: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    };
    let mut worst: Vec<(f64, String)> = Vec::new();
    for _ in 0..60 {
        let mut unit: String = (0..=roll(3)).map(|_| parts[roll(parts.len())]).collect();
        let mut cost = work_per_byte(&policy, &unit, 4 << 10);
        for _ in 0..150 {
            let mut letters: Vec<String> = unit.chars().map(String::from).collect();
            let at = roll(letters.len() + 1);
            let part = parts[roll(parts.len())].to_owned();
            match roll(3) {
                0 if at < letters.len() && letters.len() > 1 => drop(letters.remove(at)),
                1 if at < letters.len() => letters[at] = part,
                _ => letters.insert(at, part),
            }
            let next: String = letters.concat().chars().take(32).collect();
            let price = work_per_byte(&policy, &next, 4 << 10);
            if price > cost {
                (unit, cost) = (next, price);
            }
        }
        worst.push((cost, unit));
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    worst.iter().take(10).for_each(|(cost, unit)| println!("{cost:8.1} {unit:?}"));
    assert!(worst.iter().all(|(cost, _)| *cost <= MOST));
}
