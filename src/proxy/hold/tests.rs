//! However a text is cut into events, what is held and released with its replacements is what the whole text would become.

use super::*;
use crate::openai::request::Prompt;
use crate::openai::sse::Decoder;
use crate::policy::answer::Watcher;
use crate::policy::chain::{FailMode, Mode};
use crate::policy::{Change, Fault, Finding, Flow, Judgement, Policy, Released, Replacement, Watch};
use proptest::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Replaces each run of `x` by one marker; a run at the end of what came is undecided. `!` faults, `#` blocks.
struct Runs;

#[derive(Clone)]
struct RunWatch {
    at: u64,
    run: Option<u64>,
}

impl Policy for Runs {
    fn kind(&self) -> &'static str {
        "runs"
    }
    fn reason_code(&self) -> &'static str {
        "runs.found"
    }
    fn message(&self) -> Cow<'static, str> {
        "no".into()
    }
    fn inspect(&self, _: &Prompt<'_>) -> Result<Judgement, Fault> {
        Ok(Judgement::default())
    }
    fn watches_answers(&self) -> bool {
        true
    }
    fn watch(&self, _: &AnswerChannel) -> Option<Box<dyn Watch>> {
        Some(Box::new(RunWatch { at: 0, run: None }))
    }
}

impl RunWatch {
    fn close(&mut self, out: &mut Released) {
        if let Some(from) = self.run.take() {
            out.replacements.push(Replacement { range: from..self.at, with: "[X]".into(), change: Change::Redacts });
            out.findings.push(Finding { what: "x".into(), rule: "x".into(), text: 0, range: 0..1, score: None });
        }
    }
}

impl Watch for RunWatch {
    fn feed(&mut self, delta: &str, out: &mut Released) -> Flow {
        for letter in delta.chars() {
            match letter {
                'x' => _ = self.run.get_or_insert(self.at),
                '!' => panic!("a mistake in a policy"),
                '#' => return Flow::Block,
                _ => self.close(out),
            }
            self.at += letter.len_utf8() as u64;
        }
        out.upto = self.run.unwrap_or(self.at);
        Flow::Continue
    }
    fn end(&mut self, out: &mut Released) -> Flow {
        self.close(out);
        out.upto = self.at;
        Flow::Continue
    }
    fn fork(&self) -> Box<dyn Watch> {
        Box::new(self.clone())
    }
}

fn batch(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            'x' if out.ends_with('\u{1}') => {}
            'x' => out.push('\u{1}'),
            letter => out.push(letter),
        }
    }
    out.replace('\u{1}', "[X]")
}

fn event(choice: u32, text: &str) -> Event {
    says(choice, "content", text)
}

fn says(choice: u32, channel: &str, text: &str) -> Event {
    let json = serde_json::json!({"choices": [{"index": choice, "delta": {channel: text}}]});
    let mut decoder = Decoder::default();
    let event = decoder.push(format!("data: {json}\n\n").into()).next();
    event.expect("an event").expect("a small one")
}

/// Feeds `(choice, text)` events; returns the texts of both choices as the caller sees them.
fn relayed(events: &[(u32, String)], mode: Mode) -> Result<[String; 2], Refusal> {
    let mut answer = Answer::new(vec![Watcher::from(Arc::new(Runs) as Arc<dyn Policy>)], mode);
    let (mut hold, mut out) = (Hold::default(), Vec::new());
    for (choice, text) in events {
        let event = event(*choice, text);
        let data = event.data().expect("data").into_owned();
        hold.take(event, &Chunk::read(&data).expect("an answer"), &mut answer, &mut out)?;
    }
    hold.end(&mut answer, &mut out)?;
    assert_eq!((out.len(), hold.bytes), (events.len(), 0), "every event leaves once");
    let mut said = [String::new(), String::new()];
    for (raw, (choice, _)) in out.iter().zip(events) {
        let json: serde_json::Value = serde_json::from_slice(&raw[b"data: ".len()..]).expect("JSON");
        assert_eq!(json["choices"][0]["index"], *choice, "in order");
        said[*choice as usize] += json["choices"][0]["delta"]["content"].as_str().expect("text");
    }
    Ok(said)
}

proptest! {
    #[test]
    fn held_and_released_text_with_its_replacements_is_the_whole_text_judged_at_once(
        events in prop::collection::vec((0u32..2, "[xaé\\\\\" ]{0,4}"), 0..20)
    ) {
        let said = relayed(&events, Mode::default()).expect("nothing blocks");
        for choice in 0..2 {
            let text: String = events.iter().filter(|(c, _)| *c == choice).map(|(_, t)| t.as_str()).collect();
            prop_assert_eq!(&said[choice as usize], &batch(&text));
        }
    }
}

#[test]
fn a_panic_of_a_policy_ends_its_own_answer_and_no_more() {
    let events = [(0, "fine ".to_owned()), (0, "!".to_owned()), (0, " more".to_owned())];
    let refusal = relayed(&events, Mode::default()).unwrap_err();
    assert_eq!((refusal.status, refusal.code, refusal.policy), (503, "policy_error", Some("runs")));
    for mode in [Mode { fail: FailMode::Allow, observe: false }, Mode { fail: FailMode::Block, observe: true }] {
        assert_eq!(relayed(&events, mode).unwrap()[0], "fine ! more");
    }
}

#[test]
fn a_block_is_a_refusal_and_under_observation_is_not() {
    let events = [(1, "xx".to_owned()), (1, "#".to_owned())];
    assert_eq!(relayed(&events, Mode::default()).unwrap_err().code, "output_blocked");
    assert_eq!(relayed(&events, Mode { observe: true, ..Mode::default() }).unwrap()[1], "xx#");
}

/// What is behind each event of a stream: the events that left when it came, and in the end all of them.
struct Behind {
    left: Vec<usize>,
    events: Vec<Bytes>,
    found: u32,
}

/// Feeds `(channel, text)` events of one choice past the detector of personal data.
fn past_the_detector(events: &[(&str, &str)]) -> Behind {
    let detector = crate::policy::pii::PiiDetector::new(Default::default()).expect("settings");
    let mut answer = Answer::new(vec![Watcher::from(Arc::new(detector) as Arc<dyn Policy>)], Mode::default());
    let (mut hold, mut out, mut left) = (Hold::default(), Vec::new(), Vec::new());
    for (channel, text) in events {
        let event = says(0, channel, text);
        let data = event.data().expect("data").into_owned();
        hold.take(event, &Chunk::read(&data).expect("an answer"), &mut answer, &mut out).expect("nothing blocks");
        left.push(out.len());
    }
    hold.end(&mut answer, &mut out).expect("nothing blocks");
    let found = answer.take_decisions().iter().flat_map(|decision| &decision.found).map(|(_, count)| *count).sum();
    Behind { left, events: out, found }
}

impl Behind {
    fn text(&self, channel: &str) -> String {
        let json = |raw: &Bytes| serde_json::from_slice::<serde_json::Value>(&raw[b"data: ".len()..]).expect("JSON");
        let of = |raw: &Bytes| json(raw)["choices"][0]["delta"][channel].as_str().map(str::to_owned);
        self.events.iter().filter_map(of).collect()
    }
}

const SAID: &str = "write to jane@example.com or 536-22-8726";
const LONG: &str = "and this is an answer that goes on for rather longer than any value is worth waiting for";

#[test]
fn a_value_cut_by_another_channel_is_replaced_whole_when_it_goes_on_soon() {
    for value in ["jane@example.com", "536-22-8726"] {
        let text = format!("write to {value} now");
        for at in 1..text.len() {
            let (head, tail) = text.split_at(at);
            let said = past_the_detector(&[("reasoning", head), ("content", "so, "), ("reasoning", tail), ("content", "then")]);
            let (reasoning, content) = (said.text("reasoning"), said.text("content"));
            assert!(!reasoning.contains(value) && reasoning.contains("_REDACTED]") && reasoning.ends_with(" now"), "{reasoning}");
            assert_eq!((content.as_str(), said.found), ("so, then", 1));
            // No more than the letters of a word are out before.
            let out = reasoning.trim_start_matches("write to ").split('[').next().unwrap_or_default();
            assert!(out.chars().all(char::is_alphabetic), "{reasoning}");
        }
    }
}

#[test]
fn a_value_that_goes_on_late_never_arrives_whole() {
    for at in 1..SAID.len() {
        let (head, tail) = SAID.split_at(at);
        let said = past_the_detector(&[("reasoning", head), ("content", LONG), ("reasoning", tail)]);
        let reasoning = said.text("reasoning");
        assert!(!reasoning.contains("jane@example.com") && !reasoning.contains("536-22-8726"), "{reasoning}");
        assert_eq!((said.found, said.text("content").as_str()), (2, LONG), "each value counts once: {reasoning}");
    }
}

#[test]
fn the_last_word_of_a_channel_holds_nothing_back_and_a_number_a_line_at_most() {
    let delay = |last: &str| {
        let words: Vec<&str> = LONG.split_inclusive(' ').collect();
        let mut events = vec![("reasoning", last)];
        events.extend(words.iter().map(|word| ("content", *word)));
        let said = past_the_detector(&events);
        let first = said.left.iter().position(|left| *left > 1).expect("it leaves") - 1;
        words[..first].iter().map(|word| word.len()).sum::<usize>()
    };
    assert_eq!(["so I answer", "that is it.", "done!\n", "**Answer**", "yes "].map(delay), [0; 5]);
    for last in ["it was in 1999", "call 555-", "jo@exam", "key sk-ab"] {
        let bytes = delay(last);
        assert!(bytes > 0 && bytes < 64 + 8, "{last}: {bytes}");
    }
}
