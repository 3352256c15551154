//! A value comes out of every disguise that is undone, a harmless text stays in it, and plain text is not looked at twice.

use super::*;
use crate::openai::edit::rewrite;
use crate::openai::request::Endpoint;
use crate::policy::pii::{Action, PiiSettings};
use crate::policy::{Policy, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

fn detector(action: Action) -> PiiDetector {
    PiiDetector::new(PiiSettings { action, ..PiiSettings::default() }).unwrap()
}

/// The content of the only message as it goes on, and how many values were found.
fn sent(content: &Value, action: Action) -> (Value, usize) {
    let body = json!({"messages": [{"role": "user", "content": content}]}).to_string();
    let prompt = Prompt::read(Endpoint::ChatCompletions, body.as_bytes()).unwrap();
    let judgement = detector(action).inspect(&prompt).unwrap();
    let splices = judgement.edits.iter().map(|edit| prompt.texts[edit.text].splice(&prompt, edit.range.clone(), &edit.with));
    let edited: Value = serde_json::from_slice(&rewrite(body.as_bytes(), splices.collect())).unwrap();
    (edited["messages"][0]["content"].clone(), judgement.findings.len())
}

fn each(text: &str, write: impl Fn(char) -> String) -> String {
    text.chars().map(write).collect()
}

fn disguises(text: &str) -> Vec<(&'static str, String)> {
    let wide = |c: char| if c.is_ascii_graphic() { char::from_u32(c as u32 + 0xfee0) } else { Some(c) };
    let bold = |c: char| match c {
        '0'..='9' => char::from_u32(0x1d7ce + (c as u32 - 48)),
        'a'..='z' => char::from_u32(0x1d41a + (c as u32 - 97)),
        other => Some(other),
    };
    let wrapped = |code: String| format!("note {code} end");
    vec![
        ("full width", each(text, |c| wide(c).into_iter().collect())),
        ("mathematical", each(text, |c| bold(c).into_iter().collect())),
        ("zero width", each(text, |c| format!("{c}\u{200b}"))),
        ("soft hyphen", each(text, |c| format!("{c}\u{ad}"))),
        ("entities", each(text, |c| format!("&#{};", c as u32))),
        ("hex entities", each(text, |c| format!("&#x{:x};", c as u32))),
        ("percent", each(text, |c| format!("%{:02x}", c as u32))),
        ("escapes", each(text, |c| format!("\\u{:04x}", c as u32))),
        ("base64", wrapped(BASE64_STANDARD_NO_PAD.encode(text))),
        ("base64 for URLs", wrapped(BASE64_URL_SAFE_NO_PAD.encode(text))),
        ("hex", wrapped(hex::encode(text))),
    ]
}

#[test]
fn a_value_in_disguise_is_replaced_and_a_harmless_text_is_not() {
    for (value, label) in [
        ("jane@example.com", "[EMAIL_REDACTED]"),
        ("4111 1111 1111 1111", "[CREDIT_CARD_REDACTED]"),
        ("ssn 536-22-8726", "[SSN_REDACTED]"),
    ] {
        for (how, text) in disguises(&format!("please write to {value} today")) {
            let (content, found) = sent(&json!(text), Action::Redact);
            assert!(content.as_str().unwrap().contains(label) && found == 1, "{how}: {content} from {text}");
        }
    }
    for (how, text) in disguises("please write to the people of the town at 10:30, all 1234 of them") {
        assert_eq!(sent(&json!(text), Action::Redact), (json!(text), 0), "{how}");
    }
}

#[test]
fn a_value_split_over_the_parts_of_a_message_is_put_together() {
    let parts = |texts: &[&str]| -> Value { texts.iter().map(|text| json!({"type": "text", "text": text})).collect() };
    let value = "jane@example.com";
    for at in 1..value.len() {
        let (head, tail) = value.split_at(at);
        let (content, _) = sent(&parts(&[&format!("to {head}"), &format!("{tail} now"), "thanks"]), Action::Redact);
        let whole: String = content.as_array().unwrap().iter().map(|part| part["text"].as_str().unwrap()).collect();
        assert_eq!(whole, "to [EMAIL_REDACTED] nowthanks");
    }
    let letters: Vec<String> = value.chars().map(String::from).collect();
    let (content, found) = sent(&parts(&letters.iter().map(String::as_str).collect::<Vec<_>>()), Action::Redact);
    assert_eq!((content[0]["text"].as_str(), content[1]["text"].as_str(), found), (Some("[EMAIL_REDACTED]"), Some(""), 1));
    assert_eq!(sent(&parts(&["jane", "at example.com"]), Action::Redact).1, 0);
}

#[test]
fn what_is_written_is_what_is_restored_and_a_block_refuses_it() {
    let wide = "write to ｊａｎｅ@ｅｘａｍｐｌｅ.ｃｏｍ and jane@example.com";
    assert_eq!(sent(&json!(wide), Action::Restore).0, json!("write to [EMAIL_2] and [EMAIL_1]"));
    let body = json!({"messages": [{"role": "user", "content": "ｊａｎｅ@ｅｘａｍｐｌｅ.ｃｏｍ"}]}).to_string();
    let prompt = Prompt::read(Endpoint::ChatCompletions, body.as_bytes()).unwrap();
    assert_eq!(detector(Action::Block).inspect(&prompt).unwrap().verdict, Verdict::Block);
}

#[test]
fn plain_text_is_not_looked_at_again() {
    for plain in [
        "The quick brown fox jumps over the lazy dog, 100% of the time & then some; a = b, C:\\Program Files\\Notes",
        "AbstractSingletonProxyFactoryBeanConfigurationManager /usr/local/lib/python3/site-packages/numpy/core/multiarray",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c",
        "Straße, naïve, Привет мир, 你好，世界, “quoted” – and 👩‍👩‍👧 ❤️!",
        "\u{feff}a byte order mark",
    ] {
        assert!(!hides(plain), "{plain}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn edits_are_in_order_disjoint_and_on_whole_characters(
        texts in prop::collection::vec(
            "(jane@example\\.com|ｊａ\\u{200b}|4111 1111 |1111 1111|&#106;|%40|amFuZUBleGFtcGxlLmNvbSA9PT09|\\\\u0040|é|[a-z@. ]{0,6}){0,6}", 1..4)
    ) {
        let parts: Value = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        let body = json!({"messages": [{"role": "user", "content": parts}]}).to_string();
        let prompt = Prompt::read(Endpoint::ChatCompletions, body.as_bytes()).unwrap();
        let edits = detector(Action::Redact).inspect(&prompt).unwrap().edits;
        for edit in &edits {
            prop_assert!(prompt.texts[edit.text].text.get(edit.range.clone()).is_some());
        }
        for pair in edits.windows(2) {
            prop_assert!(pair[0].text < pair[1].text || pair[0].range.end <= pair[1].range.start, "{:?}", edits);
        }
    }
}
