//! Every field a record can have: what it says, its type and unit, when it is absent, and its name in the OpenTelemetry semantic
//! conventions (v1.41.0; those for generative AI are moving, and move here alone). `docs/audit-record.md` is made from this table, and
//! exporters name attributes by it.

mod table;

pub use table::FIELDS;

use std::fmt::Write;

/// One field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Its place in the record: `usage.input_tokens`, `attempts[].target`. A name of the conventions has dots of its own.
    pub path: &'static str,
    /// `string`, `integer`, `number`, `boolean`, `object`; a list of them with `[]`.
    pub kind: &'static str,
    /// Which records have it.
    pub of: Records,
    /// What it says, with its unit.
    pub says: &'static str,
    /// When it is not there; empty for one that always is.
    pub absent: &'static str,
    /// Its name in the conventions.
    pub otel: Option<Attribute>,
}

/// The records a field is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Records {
    /// All.
    All,
    /// `llm.request.received`, `llm.request.completed` and `auth.failure`.
    Exchange,
    /// `llm.request.received` and `llm.request.completed`.
    Judged,
    /// `llm.request.completed`.
    Completed,
    /// Those of the gateway's own life.
    Life,
    /// Those of what was done with the log.
    Log,
}

/// A name in the conventions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attribute {
    /// The attribute.
    pub name: &'static str,
    /// What a number is multiplied by, where the conventions have another unit.
    pub scale: f64,
}

/// What the field at a path is called in the conventions.
pub fn attribute(path: &str) -> Option<Attribute> {
    FIELDS.iter().find(|field| field.path == path)?.otel
}

/// `docs/audit-record.md`.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    let mut shown: Option<Records> = None;
    for field in FIELDS {
        if shown != Some(field.of) {
            shown = Some(field.of);
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n## {}\n\n| field | type | says | absent | OpenTelemetry |\n|---|---|---|---|---|\n",
                heading(field.of)
            );
        }
        let otel = match field.otel {
            None => String::new(),
            Some(Attribute { name, scale: 1.0 }) => format!("`{name}`"),
            Some(Attribute { name, scale }) => format!("`{name}` (times {scale})"),
        };
        let absent = if field.absent.is_empty() { "never" } else { field.absent };
        let _ = writeln!(text, "| `{}` | {} | {} | {} | {} |", field.path, field.kind, field.says, absent, otel);
    }
    text
}

const INTRODUCTION: &str = "\
# The audit record

One JSON object a record, at most 65,535 bytes, hashed as written. This page is made from `src/audit/fields.rs`. What is absent is left
out, never `null`. Names with dots that begin with `gen_ai.` or `url.` are single keys; other dots lead into an object.

An exchange has two records: `llm.request.received` before anything of it leaves, and `llm.request.completed` at its end, which names the
first as its `parent`. A refused exchange has only the second, an exchange that the gateway did not live to end has
`llm.request.interrupted` instead.

No record holds prompts, answers, matched text or keys. Texts that a caller or a provider chooses (names of models and tools, ids of users
and requests) are cut at 256 characters, and what looks like a credential, a card, an account or a social security number in them is
replaced by its type.

`commit` is HMAC-SHA256 of a body with a random salt of 32 bytes as its key. Salts are kept in the vault beside the log; `kt audit open`
shows that a body is the one that was committed to, and `kt audit erase` deletes the salt, after which nobody can.
";

fn heading(of: Records) -> &'static str {
    match of {
        Records::All => "In every record",
        Records::Exchange => "Who asks for what: `llm.request.received`, `llm.request.completed`, `auth.failure`",
        Records::Judged => "What was decided: `llm.request.received`, `llm.request.completed`",
        Records::Completed => "How it ended: `llm.request.completed`",
        Records::Life => {
            "The gateway: `gateway.start`, `gateway.stop`, `config.loaded`, `config.rejected`, `auth.failure` (and what is above)"
        }
        Records::Log => {
            "The log: `audit.read`, `audit.export`, `audit.verify`, `audit.hold`, `audit.erased`, `audit.pruned`, `audit.epoch`, \
             `audit.gap`"
        }
    }
}

#[cfg(test)]
mod tests;
