use super::*;
use crate::openai::edit::rewrite;
use crate::openai::request::Prefix;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::fmt::Write;

fn outline(endpoint: Endpoint, body: &str) -> Outline {
    Prompt::read(endpoint, body.as_bytes()).unwrap().outline()
}

fn chat(body: &str) -> Outline {
    outline(Endpoint::ChatCompletions, body)
}

fn edited(body: &str, splices: Vec<Splice>) -> Value {
    serde_json::from_slice(&rewrite(body.as_bytes(), splices)).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn a_provider_that_is_not_asked_for_usage_is_asked() {
    let messages = r#""messages": [ ]"#;
    for options in [
        "",
        r#""stream_options": null,"#,
        r#""stream_options": { },"#,
        r#""stream_options":{"include_usage":false, "x":1},"#,
        r#""stream_options":{ "x":"{" },"#,
    ] {
        let body = format!(" {{\n  {options} \"stream\": true, {messages}\n}}");
        let outline = chat(&body);
        let splices = vec![outline.with_usage(body.as_bytes()).unwrap(), outline.with_model(body.as_bytes(), "m\"x").unwrap()];
        let edited = edited(&body, splices);
        assert_eq!(edited["stream_options"]["include_usage"], true, "{body}");
        assert_eq!(edited["model"], "m\"x");
        assert_eq!(edited["messages"], json!([]));
    }
    for body in [r#"{"stream":false,"messages":[]}"#, r#"{"stream":true,"messages":[],"stream_options":{"include_usage":true}}"#]
    {
        assert_eq!(chat(body).with_usage(body.as_bytes()), None);
    }
}

#[test]
fn a_body_that_names_the_model_already_stays() {
    for (sent, wanted) in [("m", "m"), ("\\u006d", "m"), ("a\\/\\\"b", "a/\"b")] {
        let body = format!(r#"{{"messages":[],"model":"{sent}"}}"#);
        assert_eq!(chat(&body).with_model(body.as_bytes(), wanted), None, "{body}");
        assert_eq!(edited(&body, chat(&body).with_model(body.as_bytes(), "é\n").into_iter().collect())["model"], "é\n");
    }
}

#[test]
fn what_a_request_reserves_is_its_length_and_its_limit() {
    for (member, output) in [
        ("", 16_384),
        (r#""max_tokens":100,"#, 100),
        (r#""max_tokens":100,"max_completion_tokens":7,"#, 7),
        (r#""max_completion_tokens":null,"max_tokens":1e2,"#, 100),
        (r#""max_tokens":99.9,"#, 99),
        (r#""max_tokens":-1,"#, 16_384),
        (r#""max_tokens":"9","#, 16_384),
        (r#""max_tokens":[9],"#, 16_384),
        (r#""max_tokens":99999999999999999999999,"#, 16_384),
        (r#""max_tokens":1e999,"#, 16_384),
        (r#""max_tokens":0,"#, 0),
    ] {
        let body = format!(r#"{{{member}"messages":[]}}"#);
        assert_eq!(chat(&body).tokens(), body.len() as u64 / 4 + output, "{body}");
    }
    assert_eq!(outline(Endpoint::Embeddings, r#"{"input":"abcd","max_tokens":9}"#).tokens(), 7);
}

#[test]
fn a_dropped_field_takes_the_edits_inside_it_along() {
    let body = r#"{"metadata":{"a":"ada one"},"messages":[{"content":"ada two"}],"st\u006fre":"ada three","user":"ada four"}"#;
    let prompt = Prompt::read(Endpoint::ChatCompletions, body.as_bytes()).unwrap();
    let fields = names(&["store", "metadata", "verbosity", "messages"]);
    let (mut splices, dropped) = prompt.outline().without(body.as_bytes(), &fields);
    assert_eq!(dropped, ["metadata", "store"]);
    let texts = prompt.texts.iter().filter(|text| text.text.starts_with("ada"));
    splices.extend(texts.map(|text| text.splice(&prompt, 0..3, "NAME")));
    let edited = String::from_utf8(rewrite(body.as_bytes(), splices)).unwrap();
    assert_eq!(edited, r#"{"messages":[{"content":"NAME two"}],"user":"NAME four"}"#);
}

#[test]
fn nothing_is_done_where_there_is_nothing_to_drop() {
    let body = r#"{"messages":[{"store":1}],"x":"\"store\":1"}"#;
    assert_eq!(chat(body).without(body.as_bytes(), &names(&["store", ""])), (vec![], vec![]));
    assert_eq!(chat(body).without(body.as_bytes(), &[]), (vec![], vec![]));
    // Another body than the one that was outlined.
    let _ = chat(body).without(b"{}", &names(&["x"]));
    assert_eq!(chat(body).continued(b"{}", "", Prefix::Flag), None);
}

#[test]
fn only_one_free_streamed_conversation_can_be_continued() {
    let user = r#"[{"role":"user","content":"hi"}]"#;
    for (members, messages, continuable) in [
        (r#""stream":true"#, user, true),
        (r#""stream":true,"n":1.0,"echo":false,"response_format":{"x":1,"type":"text"},"regex":null"#, user, true),
        (r#""stream":true,"n":null"#, r#"[{"role":"assistant"},{"role":"tool","content":"x"}]"#, true),
        (r#""stream":true"#, r#"[{}]"#, true),
        (r#""stream":false"#, user, false),
        (r#""n":1"#, user, false),
        (r#""stream":true,"n":2"#, user, false),
        (r#""stream":true,"\u006e":"1""#, user, false),
        (r#""stream":true,"echo":true"#, user, false),
        (r#""stream":true,"response_format":{"type":"json_object"}"#, user, false),
        (r#""stream":true,"guided_regex":"a+""#, user, false),
        (r#""stream":true"#, r#"[{"role":"user"},{"r\u006fle":"assist\u0061nt"}]"#, false),
        (r#""stream":true"#, "[]", false),
        (r#""stream":true"#, r#"["loose"]"#, false),
    ] {
        for body in [format!(r#"{{"messages":{messages},{members}}}"#), format!(r#"{{{members},"messages":{messages}}}"#)] {
            let outline = chat(&body);
            assert_eq!(outline.is_continuable(body.as_bytes()), continuable, "{body}");
            assert_eq!(outline.continued(body.as_bytes(), "so", Prefix::Flag).is_some(), continuable, "{body}");
        }
    }
    let completion = r#"{"prompt":"a","messages":[{"role":"user"}],"stream":true}"#;
    assert!(!outline(Endpoint::Completions, completion).is_continuable(completion.as_bytes()));
}

#[test]
fn an_answer_is_continued_behind_the_last_message() {
    let body = r#"{"stream":true,"messages":[{"role":"user"} ] ,"add_generation_prompt":null}"#;
    for (how, expected) in [
        (
            Prefix::LastMessage,
            r#"{"stream":true,"messages":[{"role":"user"},{"role":"assistant","content":"a\n"} ] ,"add_generation_prompt":null}"#,
        ),
        (
            Prefix::Flag,
            r#"{"stream":true,"messages":[{"role":"user"},{"role":"assistant","content":"a\n","prefix":true} ] ,"add_generation_prompt":null}"#,
        ),
        (
            Prefix::FinalMessage,
            r#"{"continue_final_message":true,"stream":true,"messages":[{"role":"user"},{"role":"assistant","content":"a\n"} ] ,"add_generation_prompt":false}"#,
        ),
    ] {
        let splices = chat(body).continued(body.as_bytes(), "a\n", how).unwrap();
        assert_eq!(String::from_utf8(rewrite(body.as_bytes(), splices)).unwrap(), expected);
    }
}

/// One member as it may be written: with its key spelled in escapes or not, and white space before, within and behind.
#[derive(Debug, Clone)]
struct Written {
    key: String,
    value: Value,
    escaped: bool,
    blanks: [&'static str; 4],
}

impl Written {
    fn source(&self) -> String {
        let Self { key, value, blanks, .. } = self;
        let spelled = match self.escaped {
            true => key.encode_utf16().fold(String::new(), |mut spelled, unit| {
                write!(spelled, "\\u{unit:04x}").unwrap();
                spelled
            }),
            false => encode(key),
        };
        format!("\"{spelled}\"{}:{}{value}", blanks[1], blanks[2])
    }
}

/// The members of a conversation to be streamed, with others of any name and kind: sometimes more than an outline notes.
fn members() -> impl Strategy<Value = Vec<Written>> {
    let key = prop_oneof![
        "[a-zé\"\\\\😀]{1,2}",
        Just("store".to_owned()),
        Just("metadata".into()),
        Just("add_generation_prompt".into()),
        Just("continue_final_message".into()),
    ];
    let value = crate::openai::json::tests::json_value();
    let other = (key, prop_oneof![value, Just(Value::Null)]);
    let role = prop::sample::select(vec!["user", "tool", "x"]);
    let messages = prop::collection::vec((role, any::<String>()), 1..4)
        .prop_map(|texts| texts.into_iter().map(|(role, text)| json!({"role": role, "content": text})).collect::<Value>());
    let blank = || prop::sample::select(vec!["", "", " ", "\n\t"]);
    let style = (any::<bool>(), [blank(), blank(), blank(), blank()]);
    (prop::collection::vec(other, 0..30), messages, prop::collection::vec(style, 32), any::<[prop::sample::Index; 2]>()).prop_map(
        |(others, messages, styles, at)| {
            let mut members: Vec<(String, Value)> =
                Map::from_iter(others.into_iter().filter(|(key, _)| key != "n")).into_iter().collect();
            members.insert(at[0].index(members.len() + 1), ("messages".into(), messages));
            members.insert(at[1].index(members.len() + 1), ("stream".into(), true.into()));
            let written = |((key, value), (escaped, blanks))| Written { key, value, escaped, blanks };
            members.into_iter().zip(styles).map(written).collect()
        },
    )
}

fn body(members: &[Written]) -> String {
    let members: Vec<String> =
        members.iter().map(|member| format!("{}{}{}", member.blanks[0], member.source(), member.blanks[3])).collect();
    format!(" {{{}}}\n", members.join(","))
}

/// What the body of these members says. Read from it, for a float may change on its way through text.
fn object(members: &[Written]) -> Map<String, Value> {
    serde_json::from_str(&body(members)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn dropping_any_members_leaves_the_others_byte_for_byte(members in members(), picks in prop::collection::vec(any::<bool>(), 32)) {
        let body = body(&members);
        let mut fields: Vec<String> = members.iter().zip(&picks).filter(|(_, pick)| **pick).map(|(member, _)| member.key.clone()).collect();
        fields.reverse();
        fields.push("absent".into());
        let gone = |member: &&Written| member.key != "messages" && fields.contains(&member.key);
        let (splices, dropped) = chat(&body).without(body.as_bytes(), &fields);
        prop_assert_eq!(dropped, members.iter().filter(gone).map(|member| &member.key).collect::<Vec<_>>());
        let left = String::from_utf8(rewrite(body.as_bytes(), splices)).unwrap();
        let kept: Vec<Written> = members.iter().filter(|member| !gone(member)).cloned().collect();
        let mut rest = left.as_str();
        for member in &kept {
            let (before, after) = rest.split_once(&member.source()).unwrap();
            prop_assert!(before.bytes().all(|byte| b" \n\t,{".contains(&byte)), "{}", before);
            rest = after;
        }
        prop_assert_eq!(serde_json::from_str::<Value>(&left).unwrap().to_string(), Value::Object(object(&kept)).to_string());
    }

    #[test]
    fn a_continued_request_is_the_same_with_one_message_more(members in members(), text in any::<String>()) {
        let body = body(&members);
        for how in [Prefix::LastMessage, Prefix::Flag, Prefix::FinalMessage] {
            let mut expected = object(&members);
            let mut message = json!({"role": "assistant", "content": text});
            match how {
                Prefix::LastMessage => {}
                Prefix::Flag => message["prefix"] = true.into(),
                Prefix::FinalMessage => {
                    expected.insert("continue_final_message".into(), true.into());
                    expected.insert("add_generation_prompt".into(), false.into());
                }
            }
            expected["messages"].as_array_mut().unwrap().push(message);
            let splices = chat(&body).continued(body.as_bytes(), &text, how).unwrap();
            prop_assert_eq!(edited(&body, splices), Value::Object(expected));
        }
    }
}
