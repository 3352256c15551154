//! The detector against tables of cases, and the promise that a stream is redacted like the whole text.

use super::*;
use crate::openai::request::{Channel, Endpoint, Role, Text};

/// A case a line, see the head of the file.
const CASES: &str = include_str!("cases.txt");

pub(super) fn everything() -> PiiSettings {
    PiiSettings {
        healthcare_mode: true,
        detect_patterns: vec![r"\bEMP-\d{6}\b".to_owned(), "Projekt .{1,12}!".to_owned()],
        ..PiiSettings::default()
    }
}

pub(super) fn detector(settings: PiiSettings) -> PiiDetector {
    PiiDetector::new(settings).unwrap()
}

/// A text and the values expected in it, with their types.
pub(super) type Case = (String, Vec<(Range<usize>, String)>);

pub(super) fn cases() -> Vec<Case> {
    let lines = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines.map(|line| case(&line.replace("\\n", "\n"))).collect()
}

fn case(line: &str) -> Case {
    let (mut text, mut spans) = (String::new(), Vec::new());
    let mut rest = line;
    while let Some((before, marked)) = rest.split_once('⟦') {
        let (marked, after) = marked.split_once('⟧').unwrap();
        let (what, value) = marked.split_once('|').unwrap();
        text.push_str(before);
        spans.push((text.len()..text.len() + value.len(), what.to_owned()));
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    (text, spans)
}

fn apply(text: &str, replacements: &[Replacement]) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for replacement in replacements {
        out.push_str(&text[at..replacement.range.start as usize]);
        out.push_str(&replacement.with);
        at = replacement.range.end as usize;
    }
    out + &text[at..]
}

pub(super) fn whole(detector: &PiiDetector, text: &str, json: bool) -> String {
    apply(text, &detector.redact(text, json).unwrap().replacements)
}

/// Feeds the pieces, checks the reports against the promises of [`Released`] and gives what would have been released.
pub(super) fn streamed(detector: &PiiDetector, pieces: &[&str], json: bool) -> (String, usize) {
    let text = pieces.concat();
    let mut watch = PiiWatch::new(Arc::clone(&detector.shared), json);
    let (mut out, mut all, mut fed, mut before, mut held) = (Released::default(), Vec::new(), 0, 0, 0);
    for n in 0..=pieces.len() {
        let flow = match pieces.get(n) {
            Some(piece) => watch.feed(piece, &mut out),
            None => watch.end(&mut out),
        };
        assert_eq!(flow, Flow::Continue);
        fed += pieces.get(n).map_or(0, |piece| piece.len());
        assert!(out.upto >= before && out.upto <= fed as u64 && text.is_char_boundary(out.upto as usize));
        let mut at = before;
        for replacement in out.replacements.drain(..) {
            assert!(replacement.range.start >= at && replacement.range.end <= out.upto, "{replacement:?} {at} {}", out.upto);
            at = replacement.range.end;
            all.push(replacement);
        }
        before = out.upto;
        held = held.max(fed - out.upto as usize);
    }
    assert_eq!(out.upto, text.len() as u64);
    (apply(&text, &all), held)
}

pub(super) fn chars(text: &str) -> Vec<&str> {
    text.char_indices().map(|(n, c)| &text[n..n + c.len_utf8()]).collect()
}

#[test]
fn every_case_is_found_as_its_line_says() {
    let detector = detector(everything());
    let mut wrong = Vec::new();
    for (text, expected) in cases() {
        let found: Vec<_> = detector.find(&text).into_iter().map(|m| (m.range, m.what.to_owned())).collect();
        if found != expected {
            let shown: Vec<_> = found.iter().map(|(range, what)| (what, &text[range.clone()])).collect();
            wrong.push(format!("{text}\n    found {shown:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_value_cut_at_any_place_is_redacted_alike() {
    let detector = detector(everything());
    for (text, _) in cases() {
        let expected = whole(&detector, &text, false);
        for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
            assert_eq!(streamed(&detector, &[&text[..at], &text[at..]], false).0, expected);
        }
        assert_eq!(streamed(&detector, &chars(&text), false).0, expected);
    }
}

#[test]
fn a_value_in_json_arguments_is_found_through_any_escape_and_leaves_valid_json() {
    let detector = detector(everything());
    for (text, _) in cases() {
        let plain = serde_json::to_string(&text).unwrap();
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        for source in [format!("{{\"q\": {plain}}}"), format!("{{\"q\": \"{escaped}\"}}")] {
            let redacted = whole(&detector, &source, true);
            let value: serde_json::Value = serde_json::from_str(&redacted).unwrap();
            assert_eq!(value["q"], whole(&detector, &text, false));
            assert_eq!(streamed(&detector, &chars(&source), true).0, redacted);
        }
    }
}

#[test]
fn a_number_outside_any_string_becomes_a_string_and_the_json_stays_valid() {
    let detector = detector(PiiSettings::default());
    for (source, expected) in [
        (r#"{"card":4111111111111111,"n":1}"#, r#"{"card":"[CREDIT_CARD_REDACTED]","n":1}"#),
        (r#"[4111111111111111]"#, r#"["[CREDIT_CARD_REDACTED]"]"#),
        (r#"{"phone": 2025550143}"#, r#"{"phone": "[PHONE_REDACTED]"}"#),
        (r#"{"card": -4111111111111111}"#, r#"{"card": -0}"#),
        (r#"{"a":"jo\u0040example.com\n"}"#, r#"{"a":"[EMAIL_REDACTED]\n"}"#),
    ] {
        assert_eq!(whole(&detector, source, true), expected);
        assert_eq!(streamed(&detector, &chars(source), true).0, expected);
    }
}

#[test]
fn a_marker_is_escaped_for_the_json_string_it_goes_into() {
    let custom_markers = BTreeMap::from([("email".to_owned(), "\"mail\\\u{1}\"".to_owned())]);
    let detector = detector(PiiSettings { custom_markers, ..PiiSettings::default() });
    let redacted = whole(&detector, r#"{"a":"jo@example.com"}"#, true);
    let value: serde_json::Value = serde_json::from_str(&redacted).unwrap();
    assert_eq!(value["a"], "\"mail\\\u{1}\"");
}

#[test]
fn text_that_can_begin_no_value_is_released_at_once() {
    let detector = detector(PiiSettings::default());
    for (text, held) in [
        ("Hello there, ", 0),
        ("in 2024 ", 0),
        ("in 2024, we ", 0),
        ("it costs $5 ", 0),
        ("你好，世界", 0),
        ("2 + 2 = 4, ", 0),
        ("line\n", 0),
        ("1999.", 5),
        ("1,999 ", 0),
        ("word", 4),
        ("see jo@", 3),
        ("Привет мир", 0),
        ("call 555-", 4),
        ("4111 ", 5),
        ("ab: ", 0),
    ] {
        let mut watch = PiiWatch::new(Arc::clone(&detector.shared), false);
        let mut out = Released::default();
        assert_eq!(watch.feed(text, &mut out), Flow::Continue);
        assert_eq!(text.len() as u64 - out.upto, held, "{text:?}");
    }
}

#[test]
fn a_private_key_is_swallowed_as_it_comes_and_labelled_once() {
    let detector = detector(PiiSettings::default());
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(20);
    for (begin, end) in
        [("-----BEGIN PRIVATE KEY-----\n", "dGVzdA==\n-----END PRIVATE KEY-----"), ("-----BEGIN RSA PRIVATE KEY-----\n", "")]
    {
        let text = format!("key:\n{begin}{body}{end}\nand then some prose");
        let (released, held) = streamed(&detector, &chars(&text), false);
        assert_eq!(released.replace("\n\n", "\n"), "key:\n[SECRET_REDACTED]\nand then some prose");
        assert!(held < 128, "{held}");
        assert_eq!(detector.find(&text).len(), 1);
    }
    assert!(detector.find("a file that says -----BEGIN PRIVATE KEY----- at its top").is_empty());
}

#[test]
fn block_refuses_the_prompt_and_stops_the_answer_before_the_value() {
    let detector = detector(PiiSettings { action: Action::Block, ..PiiSettings::default() });
    let mut watch = PiiWatch::new(Arc::clone(&detector.shared), false);
    let mut out = Released::default();
    assert_eq!(watch.feed("write to jo@exam", &mut out), Flow::Continue);
    assert_eq!(watch.feed("ple.com now", &mut out), Flow::Block);
    assert_eq!((out.upto, out.replacements.len(), out.findings.len()), (9, 0, 1));
    assert_eq!(watch.end(&mut out), Flow::Block);
    let judgement = detector.inspect(&prompt(&[("jo@example.com", false)])).unwrap();
    assert_eq!((judgement.verdict, judgement.edits.len()), (Verdict::Block, 0));
}

fn prompt<'a>(texts: &[(&'a str, bool)]) -> Prompt<'a> {
    let text = |&(text, json): &(&'a str, bool)| Text {
        role: Role::User,
        channel: Channel::Content,
        message: 0,
        raw: 0..0,
        text: Cow::Borrowed(text),
        json,
    };
    Prompt {
        endpoint: Endpoint::ChatCompletions,
        body: b"",
        model: None,
        stream: false,
        include_usage: false,
        stream_options: Default::default(),
        max_tokens: None,
        members: Default::default(),
        texts: texts.iter().map(text).collect(),
        unscanned: Vec::new(),
        tools: Vec::new(),
    }
}

#[test]
fn a_prompt_is_edited_in_the_text_where_the_value_stands() {
    let judgement = detector(PiiSettings::default()).inspect(&prompt(&[
        ("hi", false),
        ("I am jo@example.com", false),
        ("{\"a\":\"192.0.2.7\"}", true),
    ]));
    let judgement = judgement.unwrap();
    assert_eq!(judgement.verdict, Verdict::Redact);
    let edit = |text, range, with: &str| TextEdit { text, range, with: with.to_owned() };
    assert_eq!(judgement.edits, [edit(1, 5..19, "[EMAIL_REDACTED]"), edit(2, 6..15, "[IP_ADDRESS_REDACTED]")]);
    assert_eq!((judgement.findings[0].what.as_ref(), judgement.findings[0].rule.as_ref()), ("email", "pii.email"));
    let quiet = detector(PiiSettings { include_metadata: false, ..PiiSettings::default() });
    let finding = quiet.inspect(&prompt(&[("I am jo@example.com", false)])).unwrap().findings.remove(0);
    assert_eq!((finding.rule.as_ref(), finding.range), ("pii", 0..0));
}

#[test]
fn a_pattern_that_is_broken_or_too_large_is_refused_by_name() {
    for pattern in ["(", r"[0-9]{1,400}[a-z]{1,400}[0-9a-z]{1,400}"] {
        let error =
            PiiDetector::new(PiiSettings { detect_patterns: vec![pattern.to_owned()], ..PiiSettings::default() }).unwrap_err();
        assert!(error.starts_with("detect_patterns: "), "{error}");
    }
}

#[test]
fn hostile_texts_take_linear_time_and_hold_back_at_most_the_bound() {
    let detector = detector(everything());
    for unit in [
        "1",
        "a",
        "@",
        "a@a.",
        "sk-",
        "::",
        "1 ",
        "12-",
        "(",
        "+",
        "-----BEGIN ",
        "password=",
        "a.",
        "eyJ",
        "é",
        "Projekt ",
        "\\u0040",
        "\"",
        "tel 1",
    ] {
        let text = unit.repeat((8 << 10) / unit.len());
        for json in [false, true] {
            let pieces = chars(&text);
            let (_, held) = streamed(&detector, &pieces, json);
            assert!(held <= matching::HOLD * 6, "{unit} {held}");
        }
        let long = unit.repeat((256 << 10) / unit.len());
        let _ = whole(&detector, &long, false);
    }
}

/// Writes findings for labelled rows in the shape the scorer reads: `PII_ROWS` names the rows, `PII_FOUND` the output. Says how
/// many bytes are held back when the rows arrive in pieces of about a token.
#[test]
#[ignore = "needs labelled rows"]
fn labelled_rows_are_searched_for_the_scorer() {
    let detector = detector(PiiSettings::default());
    let rows = std::fs::read_to_string(std::env::var("PII_ROWS").unwrap()).unwrap();
    let mut out = String::new();
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let text = row["text"].as_str().unwrap();
        let place = |at: usize| text[..at].chars().count();
        let finding = |m: Match| serde_json::json!({"policy": "pii-detector", "type": m.what, "start": place(m.range.start), "end": place(m.range.end), "rule": m.rule});
        let findings: Vec<_> = detector.find(text).into_iter().map(finding).collect();
        out.push_str(&format!("{}\n", serde_json::json!({"findings": findings})));
    }
    std::fs::write(std::env::var("PII_FOUND").unwrap(), out).unwrap();
    let mut held = Vec::new();
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let mut watch = PiiWatch::new(Arc::clone(&detector.shared), false);
        let (mut out, mut fed) = (Released::default(), 0);
        for piece in chars(row["text"].as_str().unwrap()).chunks(5).map(|piece| piece.concat()) {
            assert_eq!(watch.feed(&piece, &mut out), Flow::Continue);
            fed += piece.len() as u64;
            held.push(fed - out.upto);
        }
    }
    held.sort_unstable();
    let at = |part: usize| held[held.len() * part / 1000];
    eprintln!(
        "held back, bytes: median {}, p90 {}, p99 {}, p99.9 {}, most {}",
        at(500),
        at(900),
        at(990),
        at(999),
        held[held.len() - 1]
    );
}
