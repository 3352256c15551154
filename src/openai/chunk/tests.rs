use super::*;
use crate::openai::edit::rewrite;
use crate::openai::request::is_name;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(json: &str) -> Chunk<'_> {
    Chunk::read(json.as_bytes()).unwrap()
}

fn pieces<'c>(chunk: &'c Chunk<'_>) -> Vec<(u32, AnswerKind, &'c str)> {
    chunk.deltas.iter().map(|delta| (delta.channel.choice, delta.channel.kind, delta.text.as_ref())).collect()
}

#[test]
fn every_channel_of_every_choice_is_found() {
    use AnswerKind::*;
    let chunk = read(
        r#"{"id":"c1","object":"chat.completion.chunk","created":1.5,"model":"m","choices":[
        {"delta":{"role":"assistant","content":"a\u00e9","reasoning":"r","reasoning_content":"rc","refusal":null,
          "tool_calls":[{"index":3,"function":{"name":"f","arguments":"{"}},{"function":{"arguments":"}"},"index":4},{"function":{"arguments":"p"}}],
          "function_call":{"name":"g","arguments":"x"}},"index":2,"finish_reason":null},
        {"index":2,"delta":{"content":[{"type":"text","text":"t"},{"type":"refusal","refusal":"no"},7]},"finish_reason":"stop"}],
        "usage":null,"unknown":[[1e999]]}"#,
    );
    let expected = [
        (2, Content, "aé"),
        (2, Reasoning, "r"),
        (2, ReasoningContent, "rc"),
        (2, Arguments(3), "{"),
        (2, Arguments(4), "}"),
        (2, Arguments(2), "p"),
        (2, FunctionArguments, "x"),
        (2, Content, "t"),
        (2, Refusal, "no"),
    ];
    assert_eq!(pieces(&chunk), expected);
    assert_eq!(chunk.finish, [(2, "stop".into())]);
    assert_eq!((chunk.id.as_deref(), chunk.model.as_deref(), chunk.usage), (Some("c1"), Some("m"), None));
    assert_eq!((chunk.choices, chunk.error), (Choices::Some, false));
}

#[test]
fn whole_answers_and_completions_are_read_alike() {
    let whole = read(
        r#"{"choices":[{"message":{"content":"hi","tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"tool_calls","index":0}]}"#,
    );
    assert_eq!(pieces(&whole), [(0, AnswerKind::Content, "hi"), (0, AnswerKind::Arguments(0), "{}")]);
    let completion = read(r#"{"object":"text_completion","choices":[{"text":"a"},{"text":"b"}]}"#);
    assert_eq!(pieces(&completion), [(0, AnswerKind::Content, "a"), (1, AnswerKind::Content, "b")]);
}

#[test]
fn usage_is_read_as_reported() {
    let chunk = read(
        r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2e1,"total_tokens":30,
        "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":99999999999999999999999}}}"#,
    );
    let usage = Usage { input_tokens: 10, output_tokens: 20, cached_tokens: 4, reasoning_tokens: u64::MAX };
    assert_eq!(chunk.usage, Some(usage));
    assert!(chunk.is_usage_only() && may_hold_usage(chunk.json.as_bytes()));
    let embedding = read(r#"{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":-3}}"#);
    assert_eq!((embedding.usage, embedding.choices), (Some(Usage::default()), Choices::Absent));
    assert!(!embedding.is_usage_only());
    assert!(!read(r#"{"choices":[],"usage":null}"#).is_usage_only());
}

#[test]
fn an_error_is_seen_and_a_stranger_is_refused() {
    assert!(read(r#"{"error":{"message":"m"},"status_code":500}"#).error);
    assert!(!read(r#"{"error":null}"#).error);
    assert_eq!(Chunk::read(b"[DONE]").unwrap_err().to_string(), "the answer is not a JSON object");
    assert!(Chunk::read(b"{\"a\":1} x").is_err());
    assert!(Chunk::read(b"{\"a\":\"\xff\"}").is_err());
}

#[test]
fn a_changed_choice_loses_what_repeats_its_text_and_others_keep_it() {
    let source = r#"{"choices":[{"index":1,"logprobs":{"content":[]},"delta":{"content":"my ssn","tokens":[1]}},{"index":0,"logprobs":[7],"text":"x"}]}"#;
    let chunk = read(source);
    assert_eq!(chunk.echoes.len(), 3);
    let edits = [DeltaEdit { delta: 0, range: 0..2, with: "a\"" }, DeltaEdit { delta: 0, range: 3..6, with: "b" }];
    let edited = String::from_utf8(rewrite(source.as_bytes(), chunk.splices(&edits))).unwrap();
    let expected = r#"{"choices":[{"index":1,"logprobs":null,"delta":{"content":"a\" b","tokens":null}},{"index":0,"logprobs":[7],"text":"x"}]}"#;
    assert_eq!(edited, expected);
    assert!(chunk.splices(&[]).is_empty());
}

#[test]
fn a_text_without_a_channel_of_its_own_is_seen_all_the_same() {
    let message = |message: &str| format!(r#"{{"choices":[{{"message":{message}}}]}}"#);
    for (source, found) in [
        (r#"{"tool_calls":[{"type":"custom","id":"c1","custom":{"name":"g","input":"free"}}]}"#, vec!["free"]),
        (
            r#"{"tool_calls":[{"function":{"name":"f","arguments":{"id":"i","a b":{"name":["x",1,"y"]}}}}]}"#,
            vec!["i", "a b", "x", "y"],
        ),
        (r#"{"function_call":{"arguments":{"q":"z"},"note":"n"}}"#, vec!["z", "n"]),
        (r#"{"reasoning_details":[{"type":"reasoning.text","text":"t","signature":"QUJD","format":"f","index":0}]}"#, vec!["t"]),
        (r#"{"audio":{"id":"a1","data":"UklGRg==","transcript":"said","expires_at":9}}"#, vec!["said"]),
        (
            r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"https://a.example","title":"T","start_index":0}}]}"#,
            vec!["https://a.example", "T"],
        ),
        (
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}],"images":[{"image_url":{"url":"data:image/png;base64,iVBO"}}]}"#,
            vec!["hm"],
        ),
        (
            r#"{"content":{"text":"odd"},"role":"I am Ada","tool_calls":"odder","function_call":"oddest"}"#,
            vec!["odd", "I am Ada", "odder", "oddest"],
        ),
        (r#"[["bare"]]"#, vec!["bare"]),
        (r#""b\u0061re""#, vec!["bare"]),
    ] {
        let source = message(source);
        assert_eq!(pieces(&read(&source)).into_iter().map(|piece| piece.2).collect::<Vec<_>>(), found, "{source}");
    }
    assert_eq!(pieces(&read(r#"{"choices":["a"]}"#)).len() + pieces(&read(r#"{"choices":{"0":{"text":"a"}}}"#)).len(), 2);
}

#[test]
fn a_text_keeps_its_channel_from_chunk_to_chunk() {
    let kinds = |message: &str| {
        let source = format!(r#"{{"choices":[{{"delta":{message}}}]}}"#);
        read(&source).deltas.iter().map(|delta| delta.channel.kind).collect::<Vec<_>>()
    };
    let both = kinds(r#"{"reasoning_details":[{"text":"a","index":0},{"text":"b","index":1}]}"#);
    assert_ne!(both[0], both[1]);
    assert_eq!(kinds(r#"{"x":null,"reasoning_details":[{"index":1,"text":"c"}]}"#), both[1..]);
    let calls =
        kinds(r#"{"tool_calls":[{"index":2,"custom":{"input":"a"}},{"note":"n","function":{"arguments":["b"]},"index":3}]}"#);
    assert_eq!(calls[0], AnswerKind::Input(2));
    assert_eq!(kinds(r#"{"tool_calls":[{"index":3,"function":{"arguments":["c"]},"note":""}]}"#), [calls[2], calls[1]]);
    assert_ne!(calls[1], calls[2]);
}

#[test]
fn an_answer_of_countless_strings_is_refused() {
    let answer = |count| format!(r#"{{"choices":[{{"message":{{"content":["a"{}]}}}}]}}"#, r#","a""#.repeat(count - 1));
    assert_eq!(read(&answer(MAX_DELTAS)).deltas.len(), MAX_DELTAS);
    assert_eq!(Chunk::read(answer(MAX_DELTAS + 1).as_bytes()).unwrap_err(), ChunkError::TooManyDeltas);
    let deep = |levels: usize| format!(r#"{{"choices":[{{"delta":{}"a"{}}}]}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!(pieces(&read(&deep(253))).len(), 1);
    assert!(Chunk::read(deep(254).as_bytes()).is_err());
}

#[test]
fn a_common_chunk_is_read_with_one_allocation() {
    let content = read(
        r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}],"usage":null}"#,
    );
    assert_eq!(content.finish.capacity() + content.echoes.capacity(), 0);
    assert!(matches!((&content.id, &content.deltas[0].text), (Some(Cow::Borrowed(_)), Cow::Borrowed(_))));
    let empty = read(r#"{"choices":[],"usage":{}}"#);
    assert_eq!(empty.deltas.capacity(), 0);
}

/// An answer of some choices, in the order and shape of real ones.
fn answer() -> impl Strategy<Value = Value> {
    let text =
        || prop_oneof![Just(Value::Null), any::<String>().prop_map(Value::from), "[a-z\"\\\\é😀\n]{0,12}".prop_map(Value::from)];
    let delta = (text(), text(), text()).prop_map(|(content, reasoning, arguments)| {
        json!({"content": content, "reasoning": reasoning, "role": "assistant",
               "tool_calls": [{"index": 1, "function": {"name": "f", "arguments": arguments}}]})
    });
    prop::collection::vec((delta, any::<bool>()), 0..4).prop_map(|deltas| {
        let choices: Vec<Value> = deltas
            .into_iter()
            .map(|(delta, logs)| json!({"delta": delta, "index": 0, "logprobs": if logs { json!([0.5]) } else { Value::Null }}))
            .collect();
        json!({"id": "c", "choices": choices})
    })
}

/// The strings and keys of a document that are more than a name, in order.
fn sentences(value: &Value, found: &mut Vec<String>) {
    let mut say = |text: &String| found.extend((!is_name(text)).then(|| text.clone()));
    match value {
        Value::String(text) => say(text),
        Value::Array(elements) => elements.iter().for_each(|element| sentences(element, found)),
        Value::Object(members) => {
            for (key, member) in members {
                found.extend((!is_name(key)).then(|| key.clone()));
                sentences(member, found);
            }
        }
        _ => {}
    }
}

/// Messages with known members in odd shapes, and keys that say something.
fn odd_value() -> impl Strategy<Value = Value> {
    #[rustfmt::skip]
    const KEYS: &[&str] = &[
        "role", "content", "type", "text", "tool_calls", "function", "arguments", "id", "url", "custom", "input", "name",
        "reasoning", "reasoning_details", "data", "signature", "function_call", "refusal", "audio", "transcript", "index", "a key",
    ];
    let leaf = prop_oneof![
        3 => "[a-z]{1,4} [a-zé\"\\\\\n😀]{0,8}".prop_map(Value::from),
        1 => Just(Value::from("assistant")),
        1 => Just(Value::Null),
        1 => (0..9).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let member = (prop::sample::select(KEYS), inner.clone()).prop_map(|(key, value)| (key.to_string(), value));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(member, 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn edits_commute_with_parsing(value in answer(), with in any::<String>(), pretty in any::<bool>()) {
        let source = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let chunk = read(&source);
        // The first and the last character of every text.
        let mut edits = Vec::new();
        for (delta, text) in chunk.deltas.iter().map(|delta| &delta.text).enumerate() {
            let Some((last, _)) = text.char_indices().next_back() else { continue };
            let first = text.chars().next().map_or(0, char::len_utf8);
            edits.push(DeltaEdit { delta, range: 0..first, with: &with });
            edits.extend((last >= first).then_some(DeltaEdit { delta, range: last..text.len(), with: "" }));
        }
        let edited: Value = serde_json::from_slice(&rewrite(source.as_bytes(), chunk.splices(&edits))).unwrap();
        let mut expected = value;
        let changed = !edits.is_empty();
        for choice in expected["choices"].as_array_mut().unwrap() {
            if changed {
                choice["logprobs"] = Value::Null;
            }
            for path in ["/delta/content", "/delta/reasoning", "/delta/tool_calls/0/function/arguments"] {
                let slot = choice.pointer_mut(path).unwrap();
                let Some(text) = slot.as_str().filter(|text| !text.is_empty()) else { continue };
                let mut characters: Vec<char> = text.chars().collect();
                if characters.len() > 1 {
                    characters.pop();
                }
                let rest: String = characters.into_iter().skip(1).collect();
                *slot = Value::from(format!("{with}{rest}"));
            }
        }
        prop_assert_eq!(edited, expected);
    }

    #[test]
    fn any_mutation_is_read_or_refused(value in answer(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
        let mut json = value.to_string().into_bytes();
        for (at, byte) in flips {
            let at = at.index(json.len());
            json[at] = byte;
        }
        let _ = Chunk::read(&json).map(|chunk| chunk.is_usage_only());
    }

    #[test]
    fn no_string_is_missed_in_any_shape(message in odd_value(), whole in any::<bool>(), with in any::<String>()) {
        let member = if whole { "message" } else { "delta" };
        let value = json!({"choices": [{"index": 1, member: message, "logprobs": [0.5]}]});
        let source = value.to_string();
        let chunk = read(&source);
        let mut expected = Vec::new();
        sentences(&value, &mut expected);
        let found: Vec<&str> = chunk.deltas.iter().map(|delta| delta.text.as_ref()).filter(|text| !is_name(text)).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(chunk.deltas.windows(2).all(|pair| pair[0].raw.end < pair[1].raw.start));
        prop_assert!(chunk.deltas.iter().all(|delta| delta.channel.choice == 1));
        let whole = |(delta, piece): (usize, &Delta<'_>)| DeltaEdit { delta, range: 0..piece.text.len(), with: &with };
        let edits: Vec<_> = chunk.deltas.iter().enumerate().map(whole).collect();
        prop_assert!(serde_json::from_slice::<Box<serde_json::value::RawValue>>(&rewrite(source.as_bytes(), chunk.splices(&edits))).is_ok());
    }

    #[test]
    fn every_json_object_is_an_answer(value in crate::openai::json::tests::json_value()) {
        prop_assert_eq!(Chunk::read(value.to_string().as_bytes()).is_ok(), value.is_object());
    }
}
