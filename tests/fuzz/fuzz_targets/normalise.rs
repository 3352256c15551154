//! Offsets of every scanned view lead back into the source, in order; views stay within their bounds, and so does the time.
#![no_main]

use kt::policy::normalize::{Folding, MAX_GROWTH, Normalizer, Scratch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut scratch = Scratch::default();
    for homoglyphs in [false, true] {
        let normalizer = Normalizer::new(Folding { unicode: true, homoglyphs }, true);
        normalizer.scans(text, &mut scratch, |scan| {
            let folded = scan.text();
            assert!(folded.len() <= text.len() * MAX_GROWTH * MAX_GROWTH + MAX_GROWTH);
            let mut before = 0..0;
            for (at, c) in folded.char_indices() {
                let range = scan.source(at..at + c.len_utf8());
                assert!(range.start <= range.end && range.end <= text.len());
                assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
                assert!(range.start >= before.start && range.end >= before.end, "{range:?} after {before:?}");
                before = range;
            }
        });
        kt_fuzz::assert_linear(text, |text| normalizer.scans(text, &mut scratch, |_| {}));
    }
});
