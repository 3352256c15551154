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
    let json = serde_json::json!({"choices": [{"index": choice, "delta": {"content": text}}]});
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
