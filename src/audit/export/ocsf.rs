//! The log as events of the Open Cybersecurity Schema Framework 1.3.0: exchanges, refused callers and accesses to the log are API
//! Activity (6003), the life of the gateway is Application Lifecycle (6002).
//!
//! The attributes are those of the schema; what it has none for (tokens, cost, policies, ...) is handed on unchanged in `unmapped`,
//! so that nothing is lost.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The version of the schema.
pub const VERSION: &str = "1.3.0";

/// One attribute.
pub struct Row {
    /// Its place in the event.
    pub to: &'static str,
    /// What it is made of, for people.
    pub from: &'static str,
    /// Places of the record that it holds whole, and that `unmapped` does not repeat.
    holds: &'static [&'static str],
    make: fn(&Value) -> Option<Value>,
}

macro_rules! copied {
    ($to:literal, $pointer:literal, $from:literal) => {
        Row { to: $to, from: $from, holds: &[$pointer], make: |record| record.pointer($pointer).cloned() }
    };
}

macro_rules! made {
    ($to:literal, $from:literal, $holds:expr, $make:expr) => {
        Row { to: $to, from: $from, holds: $holds, make: $make }
    };
}

/// The attributes, in order; `metadata.sequence` is the index of the record in the log.
pub const TABLE: &[Row] = &[
    made!("category_uid", "6, Application Activity", &[], |_| Some(json!(6))),
    made!("class_uid", "6002 for `gateway.*` and `config.*`, else 6003", &[], |record| Some(json!(class(record)))),
    made!(
        "activity_id",
        "6003: 1 Create an exchange, 2 Read (`audit.read`, `audit.export`, `audit.verify`), 3 Update (`audit.hold`), 4 Delete (`audit.pruned`); 6002: 3 Start, 4 Stop; else 99",
        &[],
        |record| Some(json!(activity(record).0))
    ),
    made!("activity_name", "that in words, or `type`", &[], |record| Some(json!(activity(record).1))),
    made!("type_uid", "class and activity: `class_uid` * 100 + `activity_id`", &[], |record| {
        Some(json!(class(record) * 100 + activity(record).0))
    }),
    made!(
        "severity_id",
        "3 Medium where the verdict is `block` or `escalate`, for `auth.failure` and `audit.gap`; 2 Low for other failures; else 1 Informational",
        &[],
        |record| Some(json!(severity(record)))
    ),
    made!("time", "`time`, in milliseconds since 1970; to the nanosecond in `metadata.original_time`", &[], |record| {
        milliseconds(record.get("time")?.as_str()?).map(Value::from)
    }),
    made!("duration", "`duration_ms`, rounded", &[], |record| {
        Some(json!(record.get("duration_ms")?.as_f64()?.round() as i64))
    }),
    made!("status_id", "1 Success, 2 Failure; 0 Unknown for an exchange that only began", &[], |record| Some(json!(status(
        record
    )))),
    copied!("status", "/outcome", "`outcome`"),
    made!("status_code", "`http_status`, as text", &[], |record| Some(json!(record.get("http_status")?.to_string()))),
    copied!("status_detail", "/reason_code", "`reason_code`"),
    copied!("metadata.uid", "/id", "`id`"),
    made!("metadata.correlation_uid", "`parent`, else `id`: the same for both records of an exchange", &["/parent"], |record| {
        record.get("parent").or_else(|| record.get("id")).cloned()
    }),
    copied!("metadata.event_code", "/type", "`type`"),
    copied!("metadata.log_name", "/origin", "`origin`"),
    copied!("metadata.original_time", "/time", "`time`"),
    made!("metadata.product.name", "`kt`", &[], |_| Some(json!("kt"))),
    made!("metadata.product.vendor_name", "`keeptrusts`", &[], |_| Some(json!("keeptrusts"))),
    copied!("metadata.product.version", "/gateway_version", "`gateway_version`"),
    made!("metadata.version", "the version of the schema", &[], |_| Some(json!(VERSION))),
    made!("actor.user.name", "`user`, else `principal.id`, else `unknown`", &["/user"], |record| {
        let name = record.get("user").or_else(|| record.pointer("/principal/id")).cloned();
        (class(record) == API).then(|| name.unwrap_or_else(|| json!("unknown")))
    }),
    copied!("actor.user.uid", "/principal/id", "`principal.id`"),
    copied!("actor.user.type", "/principal/kind", "`principal.kind`"),
    copied!("actor.user.org.name", "/team", "`team`"),
    copied!("actor.session.uid", "/gen_ai.conversation.id", "`gen_ai.conversation.id`"),
    made!("api.operation", "`gen_ai.operation.name`, else `type`", &["/gen_ai.operation.name"], |record| {
        let operation = record.get("gen_ai.operation.name").or_else(|| record.get("type")).cloned();
        (class(record) == API).then_some(operation)?
    }),
    made!("api.request.uid", "`request_id`", &[], |record| record.get("request_id").cloned()),
    made!("api.response.code", "`http_status`", &["/http_status"], |record| record.get("http_status").cloned()),
    copied!("api.service.name", "/gen_ai.provider.name", "`gen_ai.provider.name`"),
    copied!("http_request.uid", "/request_id", "`request_id`"),
    copied!("http_request.url.path", "/url.path", "`url.path`"),
    copied!("http_request.http_method", "/http.request.method", "`http.request.method`"),
    copied!("http_request.user_agent", "/client/user_agent", "`client.user_agent`"),
    copied!("http_request.length", "/req/bytes", "`req.bytes`"),
    made!("http_response.code", "`http_status`", &[], |record| record.get("http_status").cloned()),
    copied!("http_response.length", "/resp/bytes", "`resp.bytes`"),
    made!("http_response.latency", "`ttft_ms`, rounded", &[], |record| {
        Some(json!(record.get("ttft_ms")?.as_f64()?.round() as i64))
    }),
    copied!("src_endpoint.ip", "/client/ip", "`client.ip`"),
    made!("src_endpoint.name", "`origin`, where there is no `client.ip`", &[], |record| {
        let of_gateway = class(record) == API && record.pointer("/client/ip").is_none();
        of_gateway.then(|| record.get("origin").cloned())?
    }),
    copied!("dst_endpoint.name", "/target", "`target`"),
    made!(
        "resources",
        "the models: `gen_ai.request.model` and `gen_ai.response.model`, each `{name, type: \"model\"}`",
        &[],
        models
    ),
    made!("app.name", "`kt` (6002)", &[], |record| (class(record) == LIFECYCLE).then(|| json!("kt"))),
    made!("app.version", "`gateway_version` (6002)", &[], |record| {
        (class(record) == LIFECYCLE).then(|| record.get("gateway_version").cloned())?
    }),
];

const API: u32 = 6003;
const LIFECYCLE: u32 = 6002;

/// The event of a record.
pub fn event(index: u64, record: &Value) -> Value {
    let mut event = json!({});
    let mut unmapped = record.clone();
    for row in TABLE {
        if let Some(value) = (row.make)(record).filter(|value| !value.is_null()) {
            put(&mut event, row.to, value);
            row.holds.iter().for_each(|place| remove(&mut unmapped, place));
        }
    }
    put(&mut event, "metadata.sequence", json!(index));
    if unmapped.as_object().is_some_and(|rest| !rest.is_empty()) {
        put(&mut event, "unmapped", unmapped);
    }
    event
}

fn word<'a>(record: &'a Value, field: &str) -> &'a str {
    record.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn class(record: &Value) -> u32 {
    match word(record, "type") {
        kind if kind.starts_with("gateway.") || kind.starts_with("config.") => LIFECYCLE,
        _ => API,
    }
}

fn activity(record: &Value) -> (u32, &str) {
    match word(record, "type") {
        kind if kind.starts_with("llm.request.") => (1, "Create"),
        "audit.read" | "audit.export" | "audit.verify" => (2, "Read"),
        "audit.hold" => (3, "Update"),
        "audit.pruned" => (4, "Delete"),
        "gateway.start" => (3, "Start"),
        "gateway.stop" => (4, "Stop"),
        other => (99, other),
    }
}

fn failed(record: &Value) -> bool {
    let failed = ["denied", "error", "aborted", "interrupted"].contains(&word(record, "outcome"));
    failed || ["auth.failure", "config.rejected", "audit.gap"].contains(&word(record, "type"))
}

fn severity(record: &Value) -> u32 {
    let stopped = ["block", "escalate"].contains(&word(record, "verdict"));
    match word(record, "type") {
        "auth.failure" | "audit.gap" => 3,
        _ if stopped => 3,
        _ if failed(record) => 2,
        _ => 1,
    }
}

fn status(record: &Value) -> u32 {
    match word(record, "type") {
        "llm.request.received" => 0,
        _ if failed(record) => 2,
        _ => 1,
    }
}

fn milliseconds(time: &str) -> Option<i64> {
    let nanoseconds = OffsetDateTime::parse(time, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanoseconds.div_euclid(1_000_000)).ok()
}

fn models(record: &Value) -> Option<Value> {
    let mut names: Vec<&Value> =
        ["gen_ai.request.model", "gen_ai.response.model"].into_iter().filter_map(|field| record.get(field)).collect();
    names.dedup();
    let resource = |name: &Value| json!({"name": name, "type": "model"});
    (!names.is_empty()).then(|| names.into_iter().map(resource).collect())
}

/// Puts a value at a place such as `metadata.product.name`.
fn put(event: &mut Value, place: &str, value: Value) {
    let mut at = event;
    for name in place.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(fields) = at else { return };
        at = fields.entry(name).or_insert(Value::Null);
    }
    *at = value;
}

/// Takes a value out, and what is empty then.
fn remove(record: &mut Value, pointer: &str) {
    let Some((above, name)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(fields)) = record.pointer_mut(above) {
        fields.shift_remove(name);
        if fields.is_empty() && !above.is_empty() {
            remove(record, above);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every event of the class must have (OCSF 1.3.0).
    const REQUIRED: [&str; 8] = [
        "/activity_id",
        "/category_uid",
        "/class_uid",
        "/severity_id",
        "/time",
        "/type_uid",
        "/metadata/version",
        "/metadata/product",
    ];

    fn completed() -> Value {
        json!({
            "v": 1, "schema": "kt.audit/1", "id": "b", "type": "llm.request.completed", "time": "2026-11-21T18:00:00.123456789Z",
            "origin": "kt/edge-7", "gateway_version": "0.1.0", "parent": "a", "user": "jane", "client": {"ip": "10.0.0.1"},
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.response.model": "m", "target": "t0",
            "verdict": "block", "outcome": "denied", "http_status": 409, "duration_ms": 12.5, "req": {"bytes": 10, "scanned": ["text"]},
            "usage": {"input_tokens": 3},
        })
    }

    #[test]
    fn an_exchange_is_api_activity_with_all_that_the_class_requires() {
        let event = event(7, &completed());
        for place in REQUIRED.iter().chain(&["/actor/user/name", "/api/operation", "/src_endpoint/ip"]) {
            assert!(event.pointer(place).is_some(), "{place}: {event:#}");
        }
        for (place, value) in [
            ("/type_uid", json!(600_301)),
            ("/time", json!(1_795_284_000_123_i64)),
            ("/severity_id", json!(3)),
            ("/status_id", json!(2)),
            ("/metadata/sequence", json!(7)),
            ("/metadata/correlation_uid", json!("a")),
            ("/api/response/code", json!(409)),
            ("/resources", json!([{"name": "m", "type": "model"}])),
        ] {
            assert_eq!(event.pointer(place), Some(&value), "{place}");
        }
    }

    #[test]
    fn what_the_schema_has_no_place_for_is_handed_on_and_nothing_twice() {
        let event = event(7, &completed());
        assert_eq!(event["unmapped"]["usage"], json!({"input_tokens": 3}));
        assert_eq!(event["unmapped"]["req"], json!({"scanned": ["text"]}));
        assert_eq!(event["unmapped"]["verdict"], "block");
        for gone in ["id", "user", "client", "origin"] {
            assert!(event["unmapped"].get(gone).is_none(), "{gone}");
        }
    }

    #[test]
    fn the_gateway_s_own_life_is_application_lifecycle() {
        let start = event(0, &json!({"type": "gateway.start", "time": "2026-11-21T18:00:00Z", "gateway_version": "0.1.0"}));
        assert_eq!(
            (&start["class_uid"], &start["type_uid"], &start["app"]["name"]),
            (&json!(6002), &json!(600_203), &json!("kt"))
        );
        assert!(start.get("actor").is_none() && start.get("api").is_none());
        let read = event(1, &json!({"type": "audit.read", "time": "2026-11-21T18:00:00Z", "origin": "kt/a", "user": "root"}));
        assert_eq!((&read["type_uid"], &read["src_endpoint"]["name"]), (&json!(600_302), &json!("kt/a")));
        for (place, event) in REQUIRED.iter().flat_map(|place| [(place, &start), (place, &read)]) {
            assert!(event.pointer(place).is_some(), "{place}: {event:#}");
        }
    }

    #[test]
    fn a_record_of_no_form_becomes_an_event_all_the_same() {
        assert_eq!(event(3, &Value::Null)["class_uid"], 6003);
    }
}
