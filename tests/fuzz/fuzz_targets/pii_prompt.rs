//! Whatever is found in a prompt, in plain sight or disguised, is replaced in order and once, in linear time.
#![no_main]

use kt::openai::edit::rewrite;
use kt::openai::request::{Endpoint, Prompt};
use kt::policy::Policy;
use kt::policy::pii::{Action, PiiDetector, PiiSettings};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static DETECTORS: LazyLock<[PiiDetector; 2]> = LazyLock::new(|| {
    [Action::Redact, Action::Restore].map(|action| {
        PiiDetector::new(PiiSettings { action, healthcare_mode: true, ..PiiSettings::default() }).expect("the settings are sound")
    })
});

fuzz_target!(|text: &str| {
    // The parts of one message, a line each.
    let parts: Vec<&str> = text.split('\n').collect();
    DETECTORS.iter().for_each(|detector| judge(detector, &parts));
    kt_fuzz::assert_linear(text, |text| judge(&DETECTORS[0], &[text]));
    kt_fuzz::assert_linear(text, |text| judge(&DETECTORS[0], &text.split('\n').collect::<Vec<_>>()));
});

fn judge(detector: &PiiDetector, parts: &[&str]) {
    let parts: Vec<String> = parts.iter().map(|part| format!("{{\"type\":\"text\",\"text\":{}}}", string(part))).collect();
    let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":[{}]}}]}}", parts.join(","));
    let prompt = Prompt::read(Endpoint::ChatCompletions, body.as_bytes()).expect("a request");
    let judgement = detector.inspect(&prompt).expect("a judgement");
    assert_eq!(judgement.edits.is_empty(), judgement.findings.is_empty());
    for pair in judgement.edits.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        assert!(a.text < b.text || (a.text == b.text && a.range.end <= b.range.start), "{a:?} {b:?}");
    }
    let splices = judgement.edits.chunk_by(|edit, next| edit.text == next.text).flat_map(|edits| {
        let text = &prompt.texts[edits[0].text];
        assert!(edits.iter().all(|edit| text.text.get(edit.range.clone()).is_some()), "{edits:?}");
        text.splices(&prompt, edits.iter().map(|edit| (edit.range.clone(), edit.with.as_str())))
    });
    let edited = rewrite(prompt.body, splices.collect());
    assert!(Prompt::read(Endpoint::ChatCompletions, &edited).is_ok());
}

fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out + "\""
}
