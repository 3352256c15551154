use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn check(document: &[u8]) -> Result<(), JsonError> {
    let mut reader = Reader::strict(utf8(document)?);
    reader.skip()?;
    reader.end()
}

/// Documents as text, often nearly JSON.
fn nearly_json() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("{".to_string()),
        Just("}".into()),
        Just("[".into()),
        Just("]".into()),
        Just(",".into()),
        Just(":".into()),
        Just(" ".into()),
        Just("null".into()),
        Just("tru".into()),
        Just("true".into()),
        "-?(0|[1-9][0-9]{0,2})(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
        "\"[a-c]{0,2}\"",
        r#""(\\[nu"\\/x]|[0-9a-f]|\x01)*""#,
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

/// Documents that are JSON; `serde_json` writes them.
pub(in crate::openai) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Valid literals without their quotes: characters, escapes of each form, pairs and lone surrogates.
fn literal() -> impl Strategy<Value = String> {
    let unit = prop_oneof![
        4 => "[a-zé€😀 ]",
        1 => Just("\\n".to_string()),
        1 => Just("\\\"".to_string()),
        1 => Just("\\\\".to_string()),
        1 => Just("\\/".to_string()),
        1 => Just("\\u00e9".to_string()),
        1 => Just("\\u20AC".to_string()),
        1 => Just("\\ud83d\\ude00".to_string()),
    ];
    prop::collection::vec(unit, 0..40).prop_map(|units| units.concat())
}

#[test]
fn a_duplicate_key_is_found_anywhere_and_named() {
    for (document, path) in [
        (r#"{"a":1,"a":2}"#, "a"),
        (r#"{"model":1,"mod\u0065l":2}"#, "model"),
        (r#"{"messages":[{"x":[]},{"content":[1,{"k":{},"t":[2],"k":0}]}]}"#, "messages[1].content[1].k"),
        (r#"[[{"a":{"b":1,"b":1}}]]"#, "[0][0].a.b"),
    ] {
        let error = check(document.as_bytes()).unwrap_err();
        assert_eq!(error.problem, Problem::DuplicateKey(path.into()), "{document}");
        assert_eq!(document.as_bytes()[error.at], b'"');
    }
    assert_eq!(check(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#), Ok(()));
}

#[test]
fn a_large_object_is_read_in_linear_time() {
    let mut document = String::from("{");
    for key in 0..200_000 {
        write_member(&mut document, key);
    }
    assert_eq!(check(format!("{document}\"end\":0}}").as_bytes()), Ok(()));
    let error = check(format!("{document}\"k777\":0}}").as_bytes()).unwrap_err();
    assert_eq!(error.problem, Problem::DuplicateKey("k777".into()));
}

fn write_member(document: &mut String, key: usize) {
    use std::fmt::Write;
    write!(document, "\"k{key}\":0,").unwrap();
}

#[test]
fn nesting_is_bounded_and_the_bound_is_exact() {
    let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
    assert_eq!(check(nested(MAX_DEPTH + 1).as_bytes()), Err(JsonError { at: MAX_DEPTH, problem: Problem::TooDeep }));
    assert_eq!(check("[".repeat(1 << 20).as_bytes()).unwrap_err().problem, Problem::TooDeep);
    assert_eq!(check(format!("[{}1]", "{\"a\":".repeat(256)).as_bytes()).unwrap_err().problem, Problem::TooDeep);
}

#[test]
fn errors_name_the_byte() {
    for (document, at) in
        [("", 0), ("{\"a\" 1}", 5), ("[1,]", 3), ("[1 2]", 3), ("{\"a\":1}x", 7), ("\"\\x\"", 1), ("01", 1), ("[1.]", 3)]
    {
        assert_eq!(check(document.as_bytes()).unwrap_err().at, at, "{document}");
    }
    assert_eq!(check(b"\"\xff\""), Err(JsonError { at: 1, problem: Problem::Utf8 }));
}

#[test]
fn a_control_character_is_found_wherever_it_stands() {
    for length in 0..200 {
        let document = format!("\"{}\u{1f}{}\"", "é".repeat(length), "b".repeat(90));
        assert_eq!(check(document.as_bytes()).unwrap_err().at, 1 + 2 * length);
    }
}

#[test]
fn a_lone_surrogate_reads_as_a_replacement_character() {
    assert_eq!(decode(r"a\ud83dz\ude00\uD83D\ud83d\ude00"), "a\u{fffd}z\u{fffd}\u{fffd}😀");
    assert_eq!(raw_range(r"a\ud83dz", 1..4), 1..7);
    assert_eq!(raw_range(r"a\ud83dz", 2..3), 1..7);
}

proptest! {
    #[test]
    fn texts_are_judged_as_serde_json_judges_them(document in nearly_json()) {
        let ours = check(document.as_bytes());
        if let Err(JsonError { problem: Problem::DuplicateKey(_), .. }) = ours {
            return Ok(());
        }
        // A DOM would round or refuse huge numbers and lone surrogates; raw values are checked for grammar alone.
        let theirs = serde_json::from_str::<Box<serde_json::value::RawValue>>(&document);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {:?} {:?}", document, ours, theirs);
    }

    #[test]
    fn every_document_serde_json_writes_is_read(value in json_value(), pretty in any::<bool>()) {
        let document = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(check(document.as_bytes()), Ok(()));
        for cut in (0..document.len()).filter(|_| !value.is_number()).step_by(7) {
            prop_assert!(check(&document.as_bytes()[..cut]).is_err());
        }
    }

    #[test]
    fn strings_decode_as_serde_json_decodes_them(raw in literal()) {
        let theirs: String = serde_json::from_str(&format!("\"{raw}\"")).unwrap();
        prop_assert_eq!(decode(&raw), theirs);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(text in any::<String>()) {
        let encoded = encode(&text);
        prop_assert_eq!(decode(&encoded), text.as_str());
        prop_assert_eq!(serde_json::from_str::<String>(&format!("\"{encoded}\"")).unwrap(), text);
    }

    #[test]
    fn a_decoded_range_maps_to_the_bytes_that_say_it(raw in literal(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let text = decode(&raw);
        let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let (a, b) = (*a.get(&borders), *b.get(&borders));
        let range = a.min(b)..a.max(b);
        let mapped = raw_range(&raw, range.clone());
        prop_assert_eq!(decode(&raw[mapped]), &text[range]);
    }

    #[test]
    fn one_pass_maps_as_many_single_ones(raw in literal(), step in 1usize..9) {
        let length = decode(&raw).len();
        let mut offsets = Offsets::new(raw.as_bytes());
        for start in (0..length).step_by(step) {
            let range = start..(start + step / 2).min(length);
            let mapped = offsets.range(range.clone());
            prop_assert_eq!(&mapped, &raw_range(&raw, range));
            prop_assert!(raw.get(mapped).is_some());
        }
    }
}
