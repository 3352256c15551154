//! Makes the bytes of one entry: the head every record has, the body, and the limit of the format.

use super::segment::MAX_ENTRY;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::SystemTime;
use time::OffsetDateTime;
use uuid::Uuid;

/// Which process writes.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    pub(super) origin: String,
    /// New at every start.
    #[serde(serialize_with = "shown")]
    pub(super) boot_id: Uuid,
    pub(super) gateway_version: &'static str,
}

/// What tells one record from another.
pub(super) struct Head {
    pub(super) id: Uuid,
    pub(super) kind: &'static str,
    /// The `received` record this one answers.
    pub(super) parent: Option<Uuid>,
    pub(super) time: SystemTime,
}

/// `llm.request.interrupted`: an exchange that ended without its own last word.
#[derive(Debug, Serialize)]
pub(super) struct Interrupted {
    pub(super) outcome: &'static str,
    /// `dropped` while running, `recovered` at the next start.
    pub(super) reason_code: &'static str,
}

impl Interrupted {
    pub(super) const KIND: &'static str = "llm.request.interrupted";

    pub(super) fn because(reason_code: &'static str) -> Interrupted {
        Interrupted { outcome: "interrupted", reason_code }
    }
}

/// `audit.gap`: something that should be in the log and is not.
#[derive(Debug, Serialize)]
pub(super) struct Gap {
    /// Exchanges or records lost; zero when not known.
    pub(super) count: u64,
    /// Unacknowledged bytes cut off by recovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    /// When the loss began.
    #[serde(serialize_with = "stamped")]
    pub(super) from: SystemTime,
    /// When it ended.
    #[serde(serialize_with = "stamped")]
    pub(super) to: SystemTime,
    pub(super) reason: &'static str,
}

impl Gap {
    pub(super) const KIND: &'static str = "audit.gap";
}

/// Room for most entries, in bytes.
const USUAL: usize = 1536;

/// The bytes of one entry: never empty, never more than [`MAX_ENTRY`], always one JSON object on one line.
pub(super) fn encode<T: Serialize>(source: &Source, head: &Head, body: &T) -> Vec<u8> {
    let line = Line { head: Opening::of(source, head), body };
    let mut bytes = Vec::with_capacity(USUAL);
    if let Err(error) = serde_json::to_writer(&mut bytes, &line) {
        let opening = json!({"id": head.id.to_string(), "type": head.kind, "unwritable": error.to_string()});
        bytes = opening.to_string().into_bytes();
    }
    if bytes.len() <= MAX_ENTRY { bytes } else { cut(&bytes) }
}

/// RFC 3339 in UTC with nanoseconds: always 30 characters, so that text order is time order.
pub fn stamp(time: SystemTime) -> String {
    let t = OffsetDateTime::from(time);
    let mut out = String::with_capacity(30);
    let (month, day) = (u8::from(t.month()), t.day());
    let (h, m, s, ns) = (t.hour(), t.minute(), t.second(), t.nanosecond());
    // Writing to a String cannot fail.
    let _ = write!(out, "{:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ns:09}Z", t.year());
    out
}

#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(flatten)]
    head: Opening<'a>,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Opening<'a> {
    v: u8,
    schema: &'static str,
    #[serde(serialize_with = "shown")]
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "stamped")]
    time: SystemTime,
    #[serde(flatten)]
    source: &'a Source,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_if_any")]
    parent: Option<Uuid>,
}

impl<'a> Opening<'a> {
    fn of(source: &'a Source, head: &Head) -> Opening<'a> {
        let Head { id, kind, parent, time } = *head;
        Opening { v: 1, schema: "kt.audit/1", id, kind, time, source, parent }
    }
}

/// Fields that are never dropped: a reader needs them to place the record.
const KEPT: [&str; 12] =
    ["v", "schema", "id", "type", "time", "origin", "boot_id", "gateway_version", "parent", "outcome", "verdict", "cut"];

/// Shortens long texts and lists, longest limit first, until the record fits; drops its largest fields if even that is not
/// enough. `cut` says that it was done and how large the record was.
fn cut(bytes: &[u8]) -> Vec<u8> {
    let mut record: Value = serde_json::from_slice(bytes).unwrap_or_else(|_| json!({}));
    if let Some(fields) = record.as_object_mut() {
        fields.insert("cut".into(), json!({"from_bytes": bytes.len()}));
    }
    for limit in [4096, 512, 64] {
        shorten(&mut record, limit);
        let shorter = record.to_string().into_bytes();
        if shorter.len() <= MAX_ENTRY {
            return shorter;
        }
    }
    if let Some(fields) = record.as_object_mut() {
        // Records have fewer than sixty fields, so what is left fits.
        fields.retain(|name, value| KEPT.contains(&name.as_str()) || value.to_string().len() <= 1024);
    }
    record.to_string().into_bytes()
}

fn shorten(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) if text.len() > limit => {
            let kept = text.floor_char_boundary(limit);
            *text = format!("{}…[{} bytes cut]", &text[..kept], text.len() - kept);
        }
        Value::Array(items) => {
            items.truncate(limit);
            items.iter_mut().for_each(|item| shorten(item, limit));
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| shorten(field, limit)),
        _ => {}
    }
}

fn shown<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

fn shown_if_any<S: Serializer>(id: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => shown(id, serializer),
        None => serializer.serialize_none(),
    }
}

fn stamped<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&stamp(*time))
}

#[cfg(test)]
mod tests {
    use super::super::record::{About, Client, Completed, PolicyDecision};
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn encoded(body: &Completed) -> Value {
        let source = Source { origin: "kt/test".into(), boot_id: Uuid::nil(), gateway_version: "0.1.0" };
        let head = Head { id: Uuid::nil(), kind: "llm.request.completed", parent: None, time: UNIX_EPOCH };
        let bytes = encode(&source, &head, body);
        assert!(bytes.len() <= MAX_ENTRY);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn times_are_written_to_the_nanosecond_in_utc() {
        assert_eq!(stamp(UNIX_EPOCH + Duration::new(1_700_000_000, 7)), "2023-11-14T22:13:20.000000007Z");
    }

    #[test]
    fn names_follow_the_conventions_and_absent_fields_are_left_out() {
        let about = About { operation: Some("chat".into()), request_model: Some("llama".into()), ..About::default() };
        let record = encoded(&Completed { about, verdict: "allow".into(), ..Completed::default() });
        let names: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
        let head = ["v", "schema", "id", "type", "time", "origin", "boot_id", "gateway_version"];
        assert_eq!(names[..8], head);
        assert_eq!(names[8..], ["gen_ai.operation.name", "gen_ai.request.model", "verdict", "outcome"]);
    }

    #[test]
    fn a_record_over_the_limit_is_cut_and_says_so() {
        let client = Client { ip: None, user_agent: Some("é".repeat(100_000)) };
        let record = encoded(&Completed { about: About { client, ..About::default() }, ..Completed::default() });
        assert!(record["cut"]["from_bytes"].as_u64().unwrap() > 200_000);
        assert!(record["client"]["user_agent"].as_str().unwrap().ends_with("bytes cut]"));
        assert_eq!(record["outcome"], "error");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_record_fails_to_fit(tools in 0usize..200, size in 0usize..2000, keys in 0usize..100, rules in 0usize..1000) {
            let about = About {
                tools: vec!["t\u{1}\"".repeat(size / 3); tools],
                parameters: (0..keys).map(|n| (format!("{n}{}", "k".repeat(size)).into(), json!(n))).collect(),
                ..About::default()
            };
            let policy = vec![PolicyDecision { rules: vec!["rule".into(); rules % 50], ..Default::default() }; rules];
            let record = encoded(&Completed { about, policy, ..Completed::default() });
            prop_assert_eq!(&record["type"], "llm.request.completed");
        }
    }
}
