//! What the rules refuse they refuse in every disguise that is undone; findings lie inside the text, and time is linear.
#![no_main]

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kt::policy::Verdict;
use kt::policy::prompt_injection::{InjectionSettings, PromptInjection};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static WHOLE: LazyLock<PromptInjection> = LazyLock::new(|| detector(InjectionSettings::default()));
/// Reads the text itself alone: what it refuses does not hang on an encoding inside.
static PLAIN: LazyLock<PromptInjection> =
    LazyLock::new(|| detector(InjectionSettings { decode_base64: false, ..InjectionSettings::default() }));

fuzz_target!(|text: &str| {
    let refused = refused_by_rules(&PLAIN, text);
    for disguised in [Some(text.to_owned()), base64(text), hex(text), full_width(text)].into_iter().flatten() {
        let findings = WHOLE.explain(&disguised);
        for finding in &findings {
            assert!(disguised.get(finding.range.clone()).is_some(), "{finding:?}");
            assert!(finding.score.is_some_and(|score| (0.0..=1.0).contains(&score)), "{finding:?}");
        }
        assert_eq!(findings, WHOLE.explain(&disguised), "a text read twice says the same twice");
        assert!(!refused || WHOLE.verdict(&findings) == Verdict::Block, "{disguised:?} of {text:?}: {findings:?}");
    }
    kt_fuzz::assert_linear(text, |text| drop(WHOLE.explain(text)));
});

fn detector(settings: InjectionSettings) -> PromptInjection {
    PromptInjection::new(settings).expect("the settings are sound")
}

/// Whether it blocks, and not by the linear model: a decoded text has a window more, and so another score.
fn refused_by_rules(detector: &PromptInjection, text: &str) -> bool {
    let findings = detector.explain(text);
    detector.verdict(&findings) == Verdict::Block && findings.iter().all(|finding| finding.rule != "model.window")
}

/// As one run, where it is long enough to be looked for and no data.
fn base64(text: &str) -> Option<String> {
    (text.len() >= 18 && is_message(text)).then(|| BASE64_STANDARD.encode(text))
}

fn hex(text: &str) -> Option<String> {
    (text.len() >= 16 && is_message(text)).then(|| hex::encode(text))
}

fn is_message(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// Every sign of ASCII in its wide form, where there is no other.
fn full_width(text: &str) -> Option<String> {
    let wide = |c: char| if matches!(c, '!'..='~') { char::from_u32(u32::from(c) + 0xfee0) } else { Some(c) };
    text.is_ascii().then(|| text.chars().filter_map(wide).collect())
}
