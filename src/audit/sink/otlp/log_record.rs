//! Records of the audit log as log records of OpenTelemetry, in the JSON form of OTLP.
//!
//! Nothing is renamed: records already use the names of the semantic conventions. The body is the record itself, byte for byte,
//! so that a copy can be compared with the log; the attributes are its fields, so that they can be searched.

use crate::audit::origin::Origin;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Severity numbers of the protocol.
const INFO: u8 = 9;
const WARN: u8 = 13;
const ERROR: u8 = 17;

/// Fields that stand in places of their own.
const PLACED: [&str; 4] = ["time", "type", "trace_id", "span_id"];

/// A request to `/v1/logs` with consecutive entries, the first with index `first`.
pub(super) fn request(origin: &Origin, first: u64, entries: &[&[u8]]) -> Value {
    let records: Vec<Value> = (first..).zip(entries).map(|(index, entry)| log_record(origin, index, entry)).collect();
    let resource = [("service.name", json!("kt")), ("service.version", json!(env!("CARGO_PKG_VERSION")))];
    let attributes: Vec<Value> = resource.iter().filter_map(|(key, value)| attribute(key, value)).collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": attributes},
        "scopeLogs": [{"scope": {"name": "kt.audit"}, "logRecords": records}],
    }]})
}

fn log_record(origin: &Origin, index: u64, entry: &[u8]) -> Value {
    let record: Map<String, Value> = serde_json::from_slice(entry).unwrap_or_default();
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    let nanoseconds = text("time").and_then(nanoseconds).unwrap_or_else(|| "0".into());
    let place = [("kt.audit.log", json!(origin.as_str())), ("kt.audit.index", json!(index))];
    let attributes = place.iter().filter_map(|(key, value)| attribute(key, value));
    let fields = record.iter().filter(|(key, _)| !PLACED.contains(&key.as_str()));
    let attributes: Vec<Value> = attributes.chain(fields.filter_map(|(key, value)| attribute(key, value))).collect();
    let (severity, name) = severity(&record);
    let mut out = json!({
        "timeUnixNano": nanoseconds,
        "observedTimeUnixNano": nanoseconds,
        "severityNumber": severity,
        "severityText": name,
        "eventName": text("type").unwrap_or("unknown"),
        "body": {"stringValue": String::from_utf8_lossy(entry)},
        "attributes": attributes,
    });
    for (name, key, digits) in [("trace_id", "traceId", 32), ("span_id", "spanId", 16)] {
        if let (Some(id), Some(out)) = (text(name), out.as_object_mut())
            && id.len() == digits
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            out.insert(key.into(), id.into());
        }
    }
    out
}

fn attribute(key: &str, value: &Value) -> Option<Value> {
    Some(json!({"key": key, "value": any_value(value)?}))
}

/// A value in the protocol's form; `null` has none.
fn any_value(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => json!({"boolValue": value}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            // Protobuf's JSON writes an i64 as text.
            (Some(integer), _) => json!({"intValue": integer.to_string()}),
            (None, double) => json!({"doubleValue": double}),
        },
        Value::Array(items) => json!({"arrayValue": {"values": items.iter().filter_map(any_value).collect::<Vec<_>>()}}),
        Value::Object(fields) => {
            let fields: Vec<Value> = fields.iter().filter_map(|(key, value)| attribute(key, value)).collect();
            json!({"kvlistValue": {"values": fields}})
        }
    })
}

fn nanoseconds(time: &str) -> Option<String> {
    OffsetDateTime::parse(time, &Rfc3339).ok().map(|time| time.unix_timestamp_nanos().max(0).to_string())
}

fn severity(record: &Map<String, Value>) -> (u8, &'static str) {
    let is = |name: &str, words: &[&str]| record.get(name).and_then(Value::as_str).is_some_and(|word| words.contains(&word));
    match () {
        () if is("type", &["audit.gap"]) || is("outcome", &["error"]) => (ERROR, "ERROR"),
        () if is("type", &["auth.failure", "config.rejected"]) || is("verdict", &["block", "warn"]) => (WARN, "WARN"),
        () if is("outcome", &["interrupted", "aborted", "denied"]) => (WARN, "WARN"),
        () => (INFO, "INFO"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_its_names_its_time_and_its_very_bytes() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let entry = format!(
            r#"{{"v":1,"type":"llm.request.completed","time":"2023-11-14T22:13:20.000000007Z","gen_ai.request.model":"m","verdict":"block","cost_usd":0.5,"attempts":[{{"ms":3}}],"none":null,"trace_id":"{trace}"}}"#
        );
        let request = request(&Origin::parse("kt/a").unwrap(), 41, &[entry.as_bytes()]);
        let record = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], "1700000000000000007");
        assert_eq!(record["body"]["stringValue"], entry.as_str());
        assert_eq!((&record["traceId"], &record["eventName"]), (&json!(trace), &json!("llm.request.completed")));
        assert_eq!((&record["severityNumber"], record.get("spanId")), (&json!(13), None));
        let attributes = [
            json!({"key": "kt.audit.log", "value": {"stringValue": "kt/a"}}),
            json!({"key": "kt.audit.index", "value": {"intValue": "41"}}),
            json!({"key": "v", "value": {"intValue": "1"}}),
            json!({"key": "gen_ai.request.model", "value": {"stringValue": "m"}}),
            json!({"key": "verdict", "value": {"stringValue": "block"}}),
            json!({"key": "cost_usd", "value": {"doubleValue": 0.5}}),
            json!({"key": "attempts", "value": {"arrayValue": {"values": [
                {"kvlistValue": {"values": [{"key": "ms", "value": {"intValue": "3"}}]}}]}}}),
        ];
        assert_eq!(record["attributes"], json!(attributes));
    }

    #[test]
    fn what_is_no_record_still_leaves_as_it_is() {
        let request = request(&Origin::parse("kt/a").unwrap(), 0, &[b"not json"]);
        let record = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!((&record["body"]["stringValue"], &record["timeUnixNano"]), (&json!("not json"), &json!("0")));
    }
}
