use super::*;
use crate::openai::request::{Prompt, Text};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A conversation to be streamed whose every sentence is to be redacted, with members of other kinds around it.
fn request() -> impl Strategy<Value = Map<String, Value>> {
    let text = || "[a-z\"\\\\é]{1,4} [a-z]{0,4}".prop_map(Value::from);
    let member = prop_oneof![
        2 => (prop::sample::select(vec!["store", "metadata", "user", "x"]), text()),
        1 => Just(("model", json!("asked"))),
        1 => Just(("stream_options", json!({}))),
        1 => Just(("add_generation_prompt", json!(true))),
        1 => text().prop_map(|text| ("metadata", json!({"a": [text]}))),
    ];
    let members = || prop::collection::vec(member.clone(), 0..4);
    (members(), text(), members()).prop_map(|(before, text, after)| {
        let needed = [("messages", json!([{"role": "user", "content": text}])), ("stream", true.into())];
        let all = before.into_iter().chain(needed).chain(after);
        all.map(|(key, value)| (key.to_owned(), value)).collect()
    })
}

fn redact(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(' ') => *text = "REDACTED".into(),
        Value::Array(elements) => elements.iter_mut().for_each(redact),
        Value::Object(members) => members.values_mut().for_each(redact),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_target_is_asked_what_was_judged_in_its_own_words(
        request in request(),
        drop in prop::sample::subsequence(vec!["messages", "store", "metadata", "user", "x", "stream_options"], 0..=6),
        usage in any::<bool>(),
        continuing in prop::option::of(("[a-z\"é ]{0,5}", prop::sample::select(vec![Prefix::LastMessage, Prefix::Flag, Prefix::FinalMessage]))),
        pretty in any::<bool>(),
    ) {
        let source = if pretty { serde_json::to_vec_pretty(&request) } else { serde_json::to_vec(&request) }.unwrap();
        let body = Bytes::from(source);
        let prompt = Prompt::read(Endpoint::ChatCompletions, &body).unwrap();
        let whole = |text: &Text<'_>| text.splice(&prompt, 0..text.text.len(), "REDACTED");
        let redactions = prompt.texts.iter().filter(|text| text.text.contains(' ')).map(whole).collect();
        let draft = Draft { body: body.clone(), redactions, outline: prompt.outline() };
        let drop_fields: Vec<String> = drop.into_iter().map(Into::into).collect();
        let continuing = continuing.as_ref().map(|(text, how)| (text.as_str(), *how));
        let (asked, dropped) = draft.body_for(&Ask { model: "pinned", usage, drop_fields: &drop_fields, continuing }).unwrap();

        let gone: Vec<&String> = request.keys().filter(|key| *key != "messages" && drop_fields.contains(key)).collect();
        prop_assert_eq!(dropped.iter().collect::<Vec<_>>(), gone);
        let mut expected = Value::Object(request.clone());
        redact(&mut expected);
        expected["model"] = "pinned".into();
        // An option that is dropped is not written again; one that was not there is new.
        if usage {
            expected["stream_options"] = json!({"include_usage": true});
        }
        if let Some((text, how)) = continuing {
            let mut message = json!({"role": "assistant", "content": text});
            match how {
                Prefix::LastMessage => {}
                Prefix::Flag => message["prefix"] = true.into(),
                Prefix::FinalMessage => {
                    expected["continue_final_message"] = true.into();
                    expected["add_generation_prompt"] = false.into();
                }
            }
            expected["messages"].as_array_mut().unwrap().push(message);
        }
        for field in &dropped {
            expected.as_object_mut().unwrap().shift_remove(field);
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(&asked).unwrap(), expected);
    }
}

#[test]
fn a_request_that_cannot_be_continued_is_not_asked_anew() {
    let body = Bytes::from_static(br#"{"messages":[{"role":"user"}]}"#);
    let outline = Prompt::read(Endpoint::ChatCompletions, &body).unwrap().outline();
    let draft = Draft { body: body.clone(), redactions: Vec::new(), outline };
    let ask = Ask { model: "", usage: true, drop_fields: &[], continuing: Some(("so far", Prefix::Flag)) };
    assert_eq!(draft.body_for(&ask), None);
}
