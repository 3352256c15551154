use super::*;
use crate::openai::edit::rewrite;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn read(json: &str) -> Chunk<'_> {
    Chunk::read(json.as_bytes()).unwrap()
}

/// A delta: its members in any order, the role among them or not.
fn delta() -> impl Strategy<Value = Value> {
    let member = prop_oneof![
        2 => Just(("role", json!("assistant"))),
        1 => Just(("role", Value::Null)),
        2 => prop_oneof![Just(json!("")), Just(Value::Null), "[a-z\"\\\\]{1,4}".prop_map(Value::from)].prop_map(|text| ("content", text)),
        1 => prop_oneof![Just(Value::Null), Just(json!([])), Just(json!([{"index": 0, "function": {"name": "f", "arguments": ""}}]))]
            .prop_map(|calls| ("tool_calls", calls)),
        1 => Just(("x", json!({"role": "deep"}))),
        1 => Just(("reasoning", json!(""))),
    ];
    prop::collection::vec(member, 0..5)
        .prop_map(|members| Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
}

/// A chunk of some choices.
fn chunk() -> impl Strategy<Value = Value> {
    let choice = (delta(), prop_oneof![5 => Just(Value::Null), 1 => Just(json!("stop"))])
        .prop_map(|(delta, end)| json!({"index": 0, "delta": delta, "role": "r", "logprobs": null, "finish_reason": end}));
    let usage = prop_oneof![5 => Just(Value::Null), 1 => Just(json!({"prompt_tokens": 1}))];
    (prop::collection::vec(choice, 0..3), usage)
        .prop_map(|(choices, usage)| json!({"id": "c", "role": "r", "choices": choices, "usage": usage}))
}

fn source(value: &Value, pretty: bool) -> String {
    if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }.unwrap()
}

#[test]
fn the_opening_of_a_second_answer_is_known_by_its_emptiness() {
    for (delta, rest, only) in [
        (r#"{"role":"assistant"}"#, "", true),
        (r#"{"role":"assistant","content":""}"#, r#","finish_reason":null,"logprobs":null"#, true),
        (r#"{"role":"assistant","content":null,"tool_calls":[ ],"x":{ }}"#, "", true),
        (r#"{"content":""}"#, "", false),
        (r#"{"role":"assistant","content":" "}"#, "", false),
        (r#"{"role":"assistant","tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}"#, "", false),
        (r#"{"role":"assistant"}"#, r#","finish_reason":"stop""#, false),
        (r#"{"role":"assistant"}"#, r#","logprobs":{"content":[0.5]}"#, false),
    ] {
        let json = format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{delta}{rest}}}]}}"#);
        assert_eq!(read(&json).is_role_only(), only, "{json}");
    }
    let usage = r#"{"choices":[{"delta":{"role":"assistant"}}],"usage":{}}"#;
    assert!(!read(usage).is_role_only());
    assert!(!read(r#"{"choices":[],"usage":null}"#).is_role_only());
}

#[test]
fn a_role_goes_however_it_is_spelled_and_however_often() {
    let json = r#"{"choices":[{"delta":{ "r\u006fle" : "a" , "role":"b","content":"x" ,"role":1}},{"delta":"role"},7]}"#;
    let edited = rewrite(json.as_bytes(), read(json).without_role());
    assert_eq!(String::from_utf8(edited).unwrap(), r#"{"choices":[{"delta":{ "content":"x"}},{"delta":"role"},7]}"#);
}

proptest! {
    #[test]
    fn without_its_role_a_chunk_is_otherwise_the_same(value in chunk(), pretty in any::<bool>()) {
        let json = source(&value, pretty);
        let edited: Value = serde_json::from_slice(&rewrite(json.as_bytes(), read(&json).without_role())).unwrap();
        let mut expected = value;
        for choice in expected["choices"].as_array_mut().unwrap() {
            choice["delta"].as_object_mut().unwrap().shift_remove("role");
        }
        prop_assert_eq!(edited.to_string(), expected.to_string());
    }

    #[test]
    fn a_chunk_that_opens_and_nothing_else_is_one_whose_rest_is_empty(value in chunk(), pretty in any::<bool>()) {
        let blank = |value: &Value| match value {
            Value::String(text) => text.is_empty(),
            Value::Array(elements) => elements.is_empty(),
            Value::Object(members) => members.is_empty(),
            other => other.is_null(),
        };
        // The `role` beside a delta says something that only the provider knows.
        let mut value = value;
        for choice in value["choices"].as_array_mut().unwrap() {
            choice.as_object_mut().unwrap().shift_remove("role");
        }
        let choices: Vec<&Map<String, Value>> = value["choices"].as_array().unwrap().iter().filter_map(Value::as_object).collect();
        let delta = |choice: &Map<String, Value>| choice["delta"].as_object().unwrap().clone();
        let opens = choices.iter().any(|choice| delta(choice).contains_key("role"));
        let silent = choices.iter().all(|choice| delta(choice).iter().all(|(name, value)| name == "role" || blank(value)));
        let open_ended = value["usage"].is_null() && choices.iter().all(|choice| choice["finish_reason"].is_null());
        prop_assert_eq!(read(&source(&value, pretty)).is_role_only(), opens && silent && open_ended);
    }
}
