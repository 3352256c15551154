//! Records as people read them: one line each, and nothing in it that a terminal would obey.

use serde_json::Value;
use std::io::{self, Write};

/// Writes records, as they are or for people.
pub fn print<'a>(records: impl IntoIterator<Item = &'a [u8]>, json: bool, out: &mut dyn Write) -> io::Result<()> {
    for record in records {
        if json {
            out.write_all(record)?;
            out.write_all(b"\n")?;
        } else {
            writeln!(out, "{}", line(&serde_json::from_slice(record).unwrap_or_default()))?;
        }
    }
    out.flush()
}

/// One record: time, type, verdict, status, model, target, tokens, milliseconds, id; `-` for what it lacks. Of what is no
/// exchange, what it says.
fn line(record: &Value) -> String {
    let time = field(record, "time");
    let seconds = time.get(..23).unwrap_or(&time);
    let kind = field(record, "type");
    let Some(stage) = kind.strip_prefix("llm.request.") else {
        return format!("{seconds}Z {kind:<15} {} {}", saying(record, &kind), field(record, "id"));
    };
    let model = match record.get("gen_ai.response.model") {
        Some(_) => field(record, "gen_ai.response.model"),
        None => field(record, "gen_ai.request.model"),
    };
    let tokens = match record.get("usage") {
        Some(usage) => format!("{}+{}", field(usage, "input_tokens"), field(usage, "output_tokens")),
        None => "-".into(),
    };
    let took = record.get("duration_ms").and_then(Value::as_f64).map_or("-".into(), |ms| format!("{ms:.1}ms"));
    let (verdict, status, target) = (field(record, "verdict"), field(record, "http_status"), field(record, "target"));
    let id = match record.get("parent") {
        Some(_) => field(record, "parent"),
        None => field(record, "id"),
    };
    format!("{seconds}Z {stage:<12} {verdict:<8} {status:>3} {model:<20} {target:<16} {tokens:>9} {took:>9} {id}")
}

/// What a record of the gateway's own life says.
fn saying(record: &Value, kind: &str) -> String {
    let say = |name: &str| field(record, name);
    match kind {
        "audit.gap" => format!("{} lost: {}", say("count"), say("reason")),
        "audit.read" | "audit.export" | "audit.verify" | "audit.hold" => format!("{}: {}", say("user"), say("what")),
        "audit.pruned" => format!("records before {}, by {}", say("new_minimum"), say("by")),
        "audit.epoch" => format!("after {}: {}", say("previous"), say("reason")),
        "auth.failure" => format!("{} {}", say("http_status"), say("reason_code")),
        "http.request" => format!("{} {} {}", say("http.request.method"), say("url.path"), say("http_status")),
        "config.rejected" => format!("{} errors, the first: {}", say("errors"), say("first")),
        "gateway.start" => format!("{} on {}", say("gateway_version"), say("listen")),
        "gateway.stop" => say("reason"),
        _ => say("config_sha256"),
    }
}

/// A field as text. Control characters, which a caller may have put there, never reach the terminal.
pub fn field(record: &Value, name: &str) -> String {
    match record.get(name) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        Some(other) => other.to_string(),
    }
}
