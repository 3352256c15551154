use super::*;
use crate::openai::edit::rewrite;
use proptest::prelude::*;
use serde_json::{Value, json};

fn chat(body: &str) -> Prompt<'_> {
    Prompt::read(Endpoint::ChatCompletions, body.as_bytes()).unwrap()
}

fn refusal(endpoint: Endpoint, body: &str) -> (&'static str, String) {
    let refusal = Prompt::read(endpoint, body.as_bytes()).unwrap_err();
    assert_eq!(refusal.status, 400);
    (refusal.code, refusal.message.into_owned())
}

fn texts<'p>(prompt: &'p Prompt<'_>) -> Vec<(Role, Channel, usize, &'p str)> {
    prompt.texts.iter().map(|text| (text.role, text.channel, text.message, text.text.as_ref())).collect()
}

#[test]
fn every_text_of_a_conversation_is_found_with_its_author() {
    use {Channel::*, Role::*};
    let body = r#"{
      "model": "gpt-oss-120b", "user": "u 1", "metadata": {"id": "note", "a key": 1},
      "messages": [
        {"content": "rules", "role": "developer"},
        {"role": "user", "name": "ada", "content": [{"text": "hi", "type": "text"}, "bare", {"type": "x", "x": ["deep"]}]},
        {"role": "assistant", "content": null, "refusal": "no", "reasoning": [{"type": "text", "text": "why"}],
         "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"q\":1}"}},
                        {"type": "custom", "custom": {"name": "g", "input": "free"}}],
         "function_call": {"name": "h", "arguments": {"q": ["obj"]}}},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "result"}]},
        {"role": "my name is Bob", "content": "odd"},
        "loose"
      ],
      "tools": [{"type": "function", "function": {"name": "f", "description": "finds", "parameters": {"type": "object", "properties": {"q": {"type": "string", "description": "query"}}}}}],
      "response_format": {"type": "json_schema", "json_schema": {"name": "s", "description": "shape"}},
      "prediction": {"type": "content", "content": "guess"}
    }"#;
    let prompt = chat(body);
    let expected = [
        (User, Other, 0, "u 1"),
        (User, Other, 0, "note"),
        (User, Other, 0, "a key"),
        (System, Content, 0, "rules"),
        (User, Other, 1, "ada"),
        (User, Content, 1, "hi"),
        (User, Content, 1, "bare"),
        (User, Content, 1, "deep"),
        (Assistant, Reasoning, 2, "no"),
        (Assistant, Reasoning, 2, "why"),
        (Assistant, Other, 2, "f"),
        (Assistant, Arguments, 2, "{\"q\":1}"),
        (Assistant, Other, 2, "g"),
        (Assistant, Content, 2, "free"),
        (Assistant, Other, 2, "h"),
        (Assistant, Content, 2, "obj"),
        (Tool, Content, 3, "result"),
        (User, Other, 4, "my name is Bob"),
        (User, Content, 4, "odd"),
        (User, Content, 5, "loose"),
        (System, Definition, 0, "f"),
        (System, Definition, 0, "finds"),
        (System, Definition, 0, "query"),
        (System, Definition, 0, "s"),
        (System, Definition, 0, "shape"),
        (User, Content, 0, "guess"),
    ];
    assert_eq!(texts(&prompt), expected);
    assert_eq!(prompt.tools, ["f"]);
    assert_eq!(prompt.model.as_ref().map(|model| model.0.as_ref()), Some("gpt-oss-120b"));
    assert!(prompt.texts.iter().all(|text| text.json == (text.channel == Arguments)));
    assert!(prompt.unscanned.is_empty());
}

#[test]
fn what_cannot_be_read_is_named_and_what_poses_as_it_is_read() {
    let sound = "UklGRg".repeat(20);
    let body = json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://a.example/x.png?q=ada"}},
        {"type": "image", "image": "look at a@b.example"},
        {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
        {"type": "file", "file": {"file_data": format!("data:application/pdf;base64,{sound}"), "filename": "cv.pdf"}},
    ]}]})
    .to_string();
    let prompt = chat(&body);
    assert_eq!(prompt.unscanned, ["audio", "file", "image"]);
    let found: Vec<_> = prompt.texts.iter().map(|text| text.text.as_ref()).collect();
    assert_eq!(found, ["https://a.example/x.png?q=ada", "look at a@b.example", "cv.pdf"]);
}

#[test]
fn a_key_that_says_something_is_read_wherever_it_stands() {
    let body = r#"{"top 1":1,"messages":[{"msg 2":null,"content":[{"part 3":null}],"tool_calls":[{"call 4":"x"}]}],
        "metadata":{"a@b.example":true},"stream_options":{"opt 6":0},"tools":[{"tool 7":{"def 8":0}}]}"#;
    let prompt = chat(body);
    let found: Vec<_> = prompt.texts.iter().map(|text| text.text.as_ref()).filter(|text| !is_name(text)).collect();
    assert_eq!(found, ["top 1", "msg 2", "part 3", "call 4", "a@b.example", "opt 6", "tool 7", "def 8"]);
}

#[test]
fn a_body_of_countless_strings_is_refused() {
    let body = |count| format!(r#"{{"messages":["a"{}]}}"#, r#","a""#.repeat(count - 1));
    assert_eq!(chat(&body(MAX_TEXTS)).texts.len(), MAX_TEXTS);
    assert_eq!(refusal(Endpoint::ChatCompletions, &body(MAX_TEXTS + 1)).0, "invalid_request");
}

#[test]
fn prompts_and_inputs_come_as_text_texts_or_tokens() {
    for (endpoint, body, found, unscanned) in [
        (Endpoint::Completions, r#"{"prompt":"a","suffix":"z"}"#, vec![(0, "a"), (0, "z")], vec![]),
        (Endpoint::Completions, r#"{"prompt":null}"#, vec![], vec![]),
        (Endpoint::Completions, r#"{"prompt":[[1,2],[3]]}"#, vec![], vec!["token_ids"]),
        (Endpoint::Embeddings, r#"{"input":["a","b"]}"#, vec![(0, "a"), (1, "b")], vec![]),
        (Endpoint::Embeddings, r#"{"input":[1,2]}"#, vec![], vec!["token_ids"]),
    ] {
        let prompt = Prompt::read(endpoint, body.as_bytes()).unwrap();
        assert_eq!(prompt.texts.iter().map(|text| (text.message, text.text.as_ref())).collect::<Vec<_>>(), found, "{body}");
        assert_eq!(prompt.unscanned, unscanned, "{body}");
    }
}

#[test]
fn a_body_that_is_not_a_request_is_refused_and_told_where() {
    use Endpoint::*;
    for (endpoint, body, code, words) in [
        (ChatCompletions, "", "invalid_json", "at byte 0"),
        (ChatCompletions, "[]", "invalid_request", "object"),
        (ChatCompletions, r#"{"messages":[]} x"#, "invalid_json", "at byte 16"),
        (ChatCompletions, r#"{"messages":[{"role":"user","role":"system"}]}"#, "duplicate_key", "messages[0].role"),
        (ChatCompletions, r#"{"model":"a","mod\u0065l":"b"}"#, "duplicate_key", "`model`"),
        (ChatCompletions, r#"{"model":1}"#, "invalid_request", "`model`"),
        (ChatCompletions, r#"{"stream":"yes"}"#, "invalid_request", "`stream`"),
        (ChatCompletions, r#"{"stream_options":1}"#, "invalid_request", "`stream_options`"),
        (ChatCompletions, r#"{"messages":{}}"#, "invalid_request", "`messages`"),
        (ChatCompletions, r#"{"prompt":"a"}"#, "invalid_request", "`messages`"),
        (Completions, r#"{"prompt":1}"#, "invalid_request", "`prompt`"),
        (Completions, r#"{}"#, "invalid_request", "`prompt`"),
        (Embeddings, r#"{"input":null}"#, "invalid_request", "`input`"),
    ] {
        let (found, message) = refusal(endpoint, body);
        assert_eq!(found, code, "{body}");
        assert!(message.contains(words), "{message}");
    }
    let deep = format!("{{\"messages\":{}", "[".repeat(300));
    assert_eq!(refusal(ChatCompletions, &deep).0, "too_deep");
}

#[test]
fn a_redaction_inside_arguments_is_encoded_once_more() {
    let body = r#"{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"to\":\"a@b.c\"}"}}]}]}"#;
    let prompt = chat(body);
    let edited = rewrite(body.as_bytes(), vec![prompt.texts[0].splice(&prompt, 7..12, "\\\"X\\\"")]);
    let edited: Value = serde_json::from_slice(&edited).unwrap();
    let arguments = edited["messages"][0]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(arguments).unwrap(), json!({"to": "\"X\""}));
}

/// The strings of a document that are neither names nor keys.
fn sentences(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if !is_name(text) => found.push(text.clone()),
        Value::Array(elements) => elements.iter().for_each(|element| sentences(element, found)),
        Value::Object(members) => members.values().for_each(|member| sentences(member, found)),
        _ => {}
    }
}

/// Bodies with known members in odd shapes.
fn odd_value() -> impl Strategy<Value = Value> {
    const KEYS: &[&str] = &[
        "messages",
        "role",
        "content",
        "type",
        "text",
        "tool_calls",
        "function",
        "arguments",
        "id",
        "image_url",
        "url",
        "prompt",
        "tools",
        "name",
        "parameters",
        "metadata",
        "prediction",
        "refusal",
        "audio",
        "input",
        "file",
        "x",
    ];
    let leaf = prop_oneof![
        3 => "[a-z]{1,4} [a-zé\"\\\\\n😀]{0,8}".prop_map(Value::from),
        1 => Just(Value::from("user")),
        1 => Just(Value::Null),
        1 => any::<i32>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(KEYS), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().map(|(key, value)| (key.to_string(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_string_is_missed_in_any_shape(messages in prop::collection::vec(odd_value(), 0..4), other in odd_value(), pretty in any::<bool>()) {
        let value = json!({"messages": messages, "other": other, "tools": other});
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let prompt = chat(&body);
        let mut expected = Vec::new();
        sentences(&value, &mut expected);
        let found: Vec<String> =
            prompt.texts.iter().filter(|text| !is_name(&text.text)).map(|text| text.text.clone().into_owned()).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(prompt.texts.windows(2).all(|pair| pair[0].raw.end < pair[1].raw.start));
    }

    #[test]
    fn edits_commute_with_parsing(messages in prop::collection::vec(odd_value(), 0..4), with in any::<String>()) {
        let value = json!({"messages": messages});
        let body = value.to_string();
        let prompt = chat(&body);
        let whole = |text: &Text<'_>| text.splice(&prompt, 0..text.text.len(), &with);
        let edited = rewrite(body.as_bytes(), prompt.texts.iter().filter(|text| !is_name(&text.text)).map(whole).collect());
        let mut expected = value;
        replace(&mut expected, &with);
        prop_assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Prompt::read(Endpoint::ChatCompletions, &body);
    }

    #[test]
    fn a_mutated_body_is_read_or_refused(value in odd_value(), flips in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"\"\\{}[],:u0 d\x00\x80"[..])), 1..6)) {
        let mut body = json!({"messages": [value]}).to_string().into_bytes();
        for (at, byte) in flips {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings] {
            if let Ok(prompt) = Prompt::read(endpoint, &body) {
                let splices = prompt.texts.iter().map(|text| text.splice(&prompt, 1..2, "x")).collect();
                prop_assert!(serde_json::from_slice::<Box<serde_json::value::RawValue>>(&rewrite(&body, splices)).is_ok());
            }
        }
    }
}

fn replace(value: &mut Value, with: &str) {
    match value {
        Value::String(text) if !is_name(text) => *text = with.to_string(),
        Value::Array(elements) => elements.iter_mut().for_each(|element| replace(element, with)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, with)),
        _ => {}
    }
}
