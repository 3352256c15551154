//! What a caller is given of a stream that goes on, whatever of the text it repeats and however it is cut.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The events a caller is given of a continuation in these deltas.
fn sifted(seen: &str, how: Prefix, deltas: &[Value]) -> Vec<Value> {
    let mut resumed = Resumed::behind(seen, how);
    let mut out = Vec::new();
    for delta in deltas {
        let finish = if delta.get("end").is_some() { json!("stop") } else { Value::Null };
        let chunk = json!({"id": "2", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        let event = Decoder::default().push(Bytes::from(format!("data: {chunk}\n\n"))).next().expect("an event").expect("short");
        out.extend(resumed.sift(event).expect("chunks"));
    }
    out.iter().map(|event| serde_json::from_slice(&event.data().expect("data")).expect("JSON")).collect()
}

fn text(events: &[Value]) -> String {
    events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect()
}

fn pieces(text: &str, cuts: &[prop::sample::Index]) -> Vec<Value> {
    let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&borders)).chain([0, text.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| json!({"role": "assistant", "content": &text[pair[0]..pair[1]]})).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn the_text_so_far_is_never_said_twice_and_nothing_new_is_lost(
        seen in "[aé😀 ]{1,9}",
        new in "[b\"é]{0,9}",
        repeats in any::<bool>(),
        how in prop::sample::select(vec![Prefix::Flag, Prefix::LastMessage, Prefix::FinalMessage]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let repeats = repeats && how != Prefix::FinalMessage && (how == Prefix::Flag || seen.chars().count() > 3);
        let answer = if repeats { format!("{seen}{new}") } else { format!("b{new}") };
        let mut deltas = pieces(&answer, &cuts);
        deltas.push(json!({"end": 1}));
        let events = sifted(&seen, how, &deltas);
        prop_assert_eq!(text(&events), if repeats { new } else { answer });
        prop_assert!(!json!(events).to_string().contains("role"));
        prop_assert_eq!(&events.last().expect("the end")["choices"][0]["finish_reason"], "stop");
    }
}

#[test]
fn a_beginning_of_the_text_that_ends_the_answer_is_new() {
    let events = sifted("Once upon", Prefix::Flag, &[json!({"content": "On"}), json!({"content": "ce", "end": 1})]);
    assert_eq!(text(&events), "Once");
}

#[test]
fn thoughts_pass_and_decide_nothing() {
    let deltas = [json!({"reasoning": "hm"}), json!({"content": "Once"}), json!({"content": " upon a time"})];
    let events = sifted("Once upon", Prefix::Flag, &deltas);
    assert_eq!((events.len(), text(&events).as_str()), (2, " a time"));
    assert_eq!(events[0]["choices"][0]["delta"]["reasoning"], "hm");
}
