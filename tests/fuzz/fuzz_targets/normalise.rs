//! Offsets of every scanned view lead back into the source.
#![no_main]

use kt::policy::normalize::{Folding, MAX_GROWTH, Normalizer, Scratch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut scratch = Scratch::default();
    for homoglyphs in [false, true] {
        Normalizer::new(Folding { unicode: true, homoglyphs }, true).scans(text, &mut scratch, |scan| {
            let folded = scan.text();
            assert!(folded.len() <= text.len() * MAX_GROWTH + MAX_GROWTH);
            let mut before = 0;
            for (at, c) in folded.char_indices() {
                let range = scan.source(at..at + c.len_utf8());
                assert!(range.start <= range.end && range.end <= text.len());
                assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
                before = before.max(range.start);
            }
            assert!(before <= text.len());
        });
    }
});
