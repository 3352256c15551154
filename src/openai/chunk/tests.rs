use super::*;
use crate::openai::edit::rewrite;
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
    assert_eq!((chunk.shape, chunk.choices, chunk.error), (Shape::Delta, Choices::Some, false));
}

#[test]
fn whole_answers_and_completions_are_read_alike() {
    let whole = read(
        r#"{"choices":[{"message":{"content":"hi","tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"tool_calls","index":0}]}"#,
    );
    assert_eq!(pieces(&whole), [(0, AnswerKind::Content, "hi"), (0, AnswerKind::Arguments(0), "{}")]);
    assert_eq!(whole.shape, Shape::Message);
    let completion = read(r#"{"object":"text_completion","choices":[{"text":"a"},{"text":"b"}]}"#);
    assert_eq!(pieces(&completion), [(0, AnswerKind::Content, "a"), (1, AnswerKind::Content, "b")]);
    assert_eq!(completion.shape, Shape::Text);
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
fn a_flush_chunk_reads_back_on_its_channel() {
    use AnswerKind::*;
    let envelope =
        read(r#"{"id":"c\n1","object":"o","created":0.000073161,"model":"m","system_fingerprint":null,"choices":[]}"#).envelope();
    for kind in [Content, Reasoning, ReasoningContent, Refusal, Arguments(5), FunctionArguments] {
        let json = envelope.flush_json(AnswerChannel { choice: 3, kind }, "held \"back\"\n");
        let chunk = Chunk::read(&json).unwrap();
        assert_eq!(pieces(&chunk), [(3, kind, "held \"back\"\n")]);
        assert_eq!(chunk.envelope(), envelope);
        assert!(chunk.json.contains("0.000073161") && chunk.finish.is_empty());
    }
    let envelope = read(r#"{"object":"text_completion","choices":[]}"#).envelope();
    let json = envelope.flush_json(AnswerChannel { choice: 0, kind: Content }, "t");
    assert_eq!(Chunk::read(&json).unwrap().shape, Shape::Text);
}

/// An answer of some choices, in the order and shape of real ones.
fn answer() -> impl Strategy<Value = Value> {
    let text =
        || prop_oneof![Just(Value::Null), any::<String>().prop_map(Value::from), "[a-z\"\\\\é😀\n]{0,12}".prop_map(Value::from)];
    let delta = (text(), text(), text()).prop_map(|(content, reasoning, arguments)| {
        json!({"content": content, "reasoning": reasoning, "x": [{"content": "not a channel"}],
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
        let _ = Chunk::read(&json).map(|chunk| (chunk.envelope(), chunk.is_usage_only()));
    }

    #[test]
    fn every_json_object_is_an_answer(value in crate::openai::json::tests::json_value()) {
        prop_assert_eq!(Chunk::read(value.to_string().as_bytes()).is_ok(), value.is_object());
    }
}
