//! A stream cut anywhere is redacted like the whole text, in linear time.
#![no_main]

use kt::openai::chunk::{AnswerChannel, AnswerKind};
use kt::policy::pii::{PiiDetector, PiiSettings};
use kt::policy::{Flow, Policy, Released, Replacement};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static DETECTOR: LazyLock<PiiDetector> = LazyLock::new(|| {
    PiiDetector::new(PiiSettings { healthcare_mode: true, ..PiiSettings::default() }).expect("the settings are sound")
});

fuzz_target!(|input: &[u8]| {
    // The first byte says whether it is JSON, and how many of the next ones are cuts. The rest is the text.
    let [head, rest @ ..] = input else { return };
    let (cuts, text) = rest.split_at(rest.len().min(usize::from(head % 16)));
    let Ok(text) = std::str::from_utf8(text) else { return };
    let kind = if head & 16 == 0 { AnswerKind::Content } else { AnswerKind::FunctionArguments };
    let whole = redacted(kind, text, &[]);
    assert_eq!(redacted(kind, text, cuts), whole, "{cuts:?}");
    assert_eq!(redacted(kind, text, &[0]), whole, "a character at a time");
    kt_fuzz::assert_linear(text, |text| drop(redacted(kind, text, &[])));
    kt_fuzz::assert_linear(text, |text| drop(redacted(kind, text, &[7])));
});

/// Feeds the text in pieces as long as the cuts say, in turn; in one piece when there are none.
fn redacted(kind: AnswerKind, text: &str, cuts: &[u8]) -> String {
    let Some(mut watch) = DETECTOR.watch(&AnswerChannel { choice: 0, kind }) else { return text.to_owned() };
    let (mut out, mut done) = (Released::default(), String::new());
    let (mut at, mut rest, mut turn) = (0, text, cuts.iter().cycle());
    while !rest.is_empty() {
        let length = turn.next().map_or(rest.len(), |&cut| usize::from(cut) + 1);
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(length));
        assert_eq!(watch.feed(piece, &mut out), Flow::Continue);
        take(text, &mut out, &mut at, &mut done);
        rest = after;
    }
    assert_eq!(watch.end(&mut out), Flow::Continue);
    take(text, &mut out, &mut at, &mut done);
    assert_eq!(at, text.len());
    done
}

/// Puts together what may leave so far.
fn take(text: &str, out: &mut Released, at: &mut usize, done: &mut String) {
    for Replacement { range, with, .. } in out.replacements.drain(..) {
        done.push_str(&text[*at..range.start as usize]);
        done.push_str(&with);
        *at = range.end as usize;
    }
    done.push_str(&text[*at..out.upto as usize]);
    *at = out.upto as usize;
}
