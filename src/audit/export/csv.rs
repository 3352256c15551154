//! The log as a table: RFC 4180, one row a record, columns that keep their names and places. New ones go to the end.
//!
//! A table is for spreadsheets, and loses what has no column. A spreadsheet takes a text for a formula that begins like one, and
//! callers choose texts, so such a text gets a `'` before it. Control characters become `U+FFFD`.

use serde_json::Value;

/// One column.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it is made of, for people.
    pub from: &'static str,
    value: Source,
}

enum Source {
    /// The index of the record in the log.
    Index,
    /// The value at a place of the record.
    At(&'static str),
    /// A text made of several.
    Made(fn(&Value) -> Option<String>),
}

const fn at(name: &'static str, from: &'static str, pointer: &'static str) -> Column {
    Column { name, from, value: Source::At(pointer) }
}

const fn made(name: &'static str, from: &'static str, make: fn(&Value) -> Option<String>) -> Column {
    Column { name, from, value: Source::Made(make) }
}

/// The columns, in order.
pub const COLUMNS: &[Column] = &[
    Column { name: "index", from: "its place in the log", value: Source::Index },
    at("time", "`time`", "/time"),
    at("type", "`type`", "/type"),
    at("id", "`id`", "/id"),
    at("parent", "`parent`: the `received` record it ends", "/parent"),
    at("origin", "`origin`", "/origin"),
    at("request_id", "`request_id`", "/request_id"),
    at("trace_id", "`trace_id`", "/trace_id"),
    at("principal_kind", "`principal.kind`", "/principal/kind"),
    at("principal", "`principal.id`", "/principal/id"),
    at("user", "`user`", "/user"),
    at("team", "`team`", "/team"),
    at("client_ip", "`client.ip`", "/client/ip"),
    at("user_agent", "`client.user_agent`", "/client/user_agent"),
    at("conversation", "`gen_ai.conversation.id`", "/gen_ai.conversation.id"),
    at("operation", "`gen_ai.operation.name`", "/gen_ai.operation.name"),
    at("path", "`url.path`", "/url.path"),
    at("stream", "`stream`; empty when not", "/stream"),
    at("request_model", "`gen_ai.request.model`", "/gen_ai.request.model"),
    at("response_model", "`gen_ai.response.model`", "/gen_ai.response.model"),
    at("provider", "`gen_ai.provider.name`", "/gen_ai.provider.name"),
    at("target", "`target`", "/target"),
    at("verdict", "`verdict`", "/verdict"),
    at("reason_code", "`reason_code`", "/reason_code"),
    at("outcome", "`outcome`", "/outcome"),
    at("http_status", "`http_status`", "/http_status"),
    made("policies", "`policy[]`: each `kind:phase:verdict`, joined by spaces", policies),
    made("redactions", "`req.redactions[]` and `resp.redactions[]`: each `type=count`, joined by spaces", redactions),
    made("attempts", "`attempts[]`: how many", |record| count(record, "attempts")),
    at("fallback", "`fallback`; empty when not", "/fallback"),
    at("degraded", "`degraded`; empty when not", "/degraded"),
    at("request_bytes", "`req.bytes`", "/req/bytes"),
    at("response_bytes", "`resp.bytes`", "/resp/bytes"),
    at("input_tokens", "`usage.input_tokens`", "/usage/input_tokens"),
    at("output_tokens", "`usage.output_tokens`", "/usage/output_tokens"),
    at("cached_tokens", "`usage.cached`", "/usage/cached"),
    at("reasoning_tokens", "`usage.reasoning`", "/usage/reasoning"),
    at("usage_source", "`usage.source`", "/usage/source"),
    at("cost_usd", "`cost_usd`", "/cost_usd"),
    at("ttft_ms", "`ttft_ms`", "/ttft_ms"),
    at("duration_ms", "`duration_ms`", "/duration_ms"),
    at("overhead_us", "`overhead_us`", "/overhead_us"),
    at("tokens_per_second", "`tokens_per_second`", "/tokens_per_second"),
    at("method", "`http.request.method`", "/http.request.method"),
];

/// The first row, without its end.
pub fn head() -> String {
    COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>().join(",")
}

/// The row of a record, with its end.
pub fn row(index: u64, record: &Value) -> String {
    let mut row = String::with_capacity(512);
    for (place, column) in COLUMNS.iter().enumerate() {
        if place > 0 {
            row.push(',');
        }
        match &column.value {
            Source::Index => row.push_str(&index.to_string()),
            Source::At(pointer) => match record.pointer(pointer) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => put(&mut row, text),
                // Numbers and truths hold nothing that would have to be quoted.
                Some(other @ (Value::Number(_) | Value::Bool(_))) => row.push_str(&other.to_string()),
                Some(other) => put(&mut row, &other.to_string()),
            },
            Source::Made(make) => put(&mut row, &make(record).unwrap_or_default()),
        }
    }
    row.push_str("\r\n");
    row
}

/// A text that no spreadsheet takes for a formula, nor for two cells.
fn put(row: &mut String, text: &str) {
    let formula = text.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let quoted = text.contains([',', '"', ';', '\'']);
    let tail = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    if quoted {
        row.push('"');
    }
    if formula {
        row.push('\'');
    }
    for c in tail {
        if c == '"' {
            row.push('"');
        }
        row.push(c);
    }
    if quoted {
        row.push('"');
    }
}

fn policies(record: &Value) -> Option<String> {
    let of = |policy: &Value, field: &str| policy.get(field).and_then(Value::as_str).unwrap_or_default().to_string();
    let word = |policy: &Value| [of(policy, "kind"), of(policy, "phase"), of(policy, "verdict")].join(":");
    Some(record.get("policy")?.as_array()?.iter().map(word).collect::<Vec<_>>().join(" "))
}

fn redactions(record: &Value) -> Option<String> {
    let lists = ["/req/redactions", "/resp/redactions"].into_iter().filter_map(|at| record.pointer(at)?.as_array());
    let word = |one: &Value| Some(format!("{}={}", one.get("type")?.as_str()?, one.get("count")?));
    Some(lists.flatten().filter_map(word).collect::<Vec<_>>().join(" "))
}

fn count(record: &Value, field: &str) -> Option<String> {
    Some(record.get(field)?.as_array()?.len().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// What a reader of RFC 4180 makes of one row.
    fn read(row: &str) -> Vec<String> {
        let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
        let mut rest = row.strip_suffix("\r\n").unwrap().chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '"' if quoted && rest.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(std::mem::take(&mut cell)),
                c => cell.push(c),
            }
        }
        assert!(!quoted, "{row}");
        cells.push(cell);
        cells
    }

    fn cell(cells: &[String], name: &str) -> String {
        cells[COLUMNS.iter().position(|column| column.name == name).unwrap()].clone()
    }

    #[test]
    fn a_row_has_the_values_of_the_record_in_their_columns() {
        let record = json!({
            "time": "2026-11-21T18:00:00.000000000Z", "client": {"ip": "::1"}, "http_status": 200, "stream": true, "cost_usd": -0.5,
            "policy": [{"kind": "pii-detector", "phase": "input", "verdict": "redact"}, {"kind": "x", "phase": "output", "verdict": "allow"}],
            "req": {"redactions": [{"type": "email", "count": 2}]}, "attempts": [{}, {}],
        });
        let cells = read(&row(7, &record));
        for (name, value) in [
            ("index", "7"),
            ("client_ip", "::1"),
            ("http_status", "200"),
            ("stream", "true"),
            ("cost_usd", "-0.5"),
            ("policies", "pii-detector:input:redact x:output:allow"),
            ("redactions", "email=2"),
            ("attempts", "2"),
            ("model", ""),
        ] {
            assert_eq!(if name == "model" { cell(&cells, "request_model") } else { cell(&cells, name) }, value, "{name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_caller_writes_stays_in_its_cell_and_is_no_formula(text in "[=+@\\-,;\"'\r\n\t\u{0}a-z ]{0,20}|.{0,20}") {
            let cells = read(&row(0, &json!({"user": text, "team": "last"})));
            prop_assert_eq!(cells.len(), COLUMNS.len());
            prop_assert_eq!(cell(&cells, "team"), "last");
            let user = cell(&cells, "user");
            prop_assert!(!user.starts_with(['=', '+', '-', '@', '\t', '\r']), "{}", user);
            let shown: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            let guarded = format!("'{shown}");
            prop_assert!(user == shown || user == guarded);
        }
    }
}
