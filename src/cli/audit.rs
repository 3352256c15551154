//! `kt audit verify` and `kt audit tail`: what people ask of the log. Both read files only and need no running gateway; both
//! work beside one that is writing.

use crate::audit::AuditError;
use crate::audit::origin::Origin;
use crate::audit::scan::{Damage, Tail};
use crate::audit::tail::Follower;
use crate::audit::verify::{self, Trust, Verified};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const INTACT: i32 = 0;
const DAMAGED: i32 = 1;
const USAGE: i32 = 2;
/// How often `tail --follow` looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Re-hashes every log below `dir` and checks that no record is missing or changed and that all is as it was signed. Returns 0
/// when all are intact, 1 when one is damaged (its first bad index is printed), 2 when there is no log or it cannot be read.
pub fn verify(dir: &Path, trust: &Trust, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let origins = Origin::all_below(dir);
    if origins.is_empty() {
        return no_log(dir, err);
    }
    let (mut code, mut found) = (INTACT, Vec::new());
    for origin in origins {
        let verified = verify::verify(dir, &origin, trust, &mut progress(&origin, err));
        let checked = match verified {
            Ok(log) => Ok(log),
            Err(AuditError::Damaged(damage)) => Err(damage),
            Err(other) => {
                let _ = writeln!(err, "{other}");
                return USAGE;
            }
        };
        if checked.is_err() {
            code = DAMAGED;
        }
        if json {
            found.push(as_json(&origin, &checked));
        } else {
            let _ = writeln!(out, "{}", as_text(&origin, &checked));
        }
    }
    if json {
        let _ = writeln!(out, "{}", json!({"intact": code == INTACT, "logs": found}));
    }
    code
}

/// Prints the newest `lines` records below `dir`, then, with `follow`, each new one as it is written, until the reader of `out`
/// goes away. Returns 0, or 2 when there is no log or it cannot be read.
pub fn tail(dir: &Path, follow: bool, lines: usize, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let (mut followers, mut newest) = (Vec::new(), Vec::new());
    for origin in Origin::all_below(dir) {
        match Follower::new(dir, &origin, lines) {
            Ok((follower, records)) => {
                followers.push(follower);
                newest.extend(records);
            }
            Err(error) => {
                let _ = writeln!(err, "{error}");
                return USAGE;
            }
        }
    }
    if followers.is_empty() {
        return no_log(dir, err);
    }
    // Times are written so that the order of their text is the order of time.
    newest.sort_by_cached_key(|record| field(&parsed(record), "time"));
    let surplus = newest.len().saturating_sub(lines);
    // A failed write means that whoever read went away: the end, not an error.
    let mut written = print(newest.get(surplus..).unwrap_or_default(), json, out);
    while follow && written.is_ok() {
        std::thread::sleep(LOOK_EVERY);
        for follower in &mut followers {
            match follower.news() {
                Ok(records) => written = written.and_then(|()| print(&records, json, out)),
                Err(error) => {
                    let _ = writeln!(err, "{error}");
                    return USAGE;
                }
            }
        }
    }
    INTACT
}

fn no_log(dir: &Path, err: &mut dyn Write) -> i32 {
    let _ = writeln!(err, "no audit log below {}; name its directory with --audit-dir", dir.display());
    USAGE
}

/// Says how far it is, once it takes long and somebody watches.
fn progress<'a>(origin: &'a Origin, err: &'a mut dyn Write) -> impl FnMut(u64) + 'a {
    let (watched, mut said) = (io::stderr().is_terminal(), Instant::now());
    move |bytes| {
        if watched && said.elapsed() >= Duration::from_secs(1) {
            said = Instant::now();
            let _ = writeln!(err, "{origin}: {} MiB read", bytes >> 20);
        }
    }
}

fn as_text(origin: &Origin, checked: &Result<Verified, Damage>) -> String {
    let Verified { log, key, signed, checkpoints, anchored } = match checked {
        Ok(verified) => verified,
        Err(Damage { index, what, segment, offset, .. }) => {
            return format!("{origin}: DAMAGED at index {index}: {what} ({}, byte {offset})", segment.display());
        }
    };
    let (size, tally) = (log.tree.size(), log.books.tally);
    let mut text = format!("{origin}: intact, {} records in {} segment(s)\n", size - log.first, log.segments);
    if log.first > 0 {
        text += &format!("  begins with record {}: those before were pruned\n", log.first);
    }
    let inherited = match tally.inherited {
        0 => String::new(),
        open => format!(" + {open} begun before"),
    };
    text += &format!(
        "  exchanges: {} received{inherited} = {} completed + {} interrupted + {} open; {} refused\n",
        tally.received,
        tally.completed,
        tally.interrupted,
        log.books.open.len(),
        tally.refused
    );
    if tally.gaps > 0 {
        text += &format!("  gaps: {} records tell of losses (type audit.gap)\n", tally.gaps);
    }
    if log.tail == Tail::Unfinished {
        text += "  one record is unfinished: it is being written, or a crash cut it short and the next start removes it\n";
    }
    text += &match key {
        Some(key) => format!(
            "  signed: {signed} records, {checkpoints} checkpoint(s) compared, {anchored} of them kept elsewhere\n  key: {key}\n"
        ),
        None => "  signed: nothing yet\n".into(),
    };
    text + &format!("  root: {}", verify::shown(&log.tree.root()))
}

fn as_json(origin: &Origin, checked: &Result<Verified, Damage>) -> Value {
    let Verified { log, key, signed, checkpoints, anchored } = match checked {
        Ok(verified) => verified,
        Err(damage) => {
            return json!({
                "origin": origin.as_str(), "intact": false, "index": damage.index, "reason": damage.what,
                "segment": damage.segment.display().to_string(), "offset": damage.offset,
            });
        }
    };
    let (size, tally) = (log.tree.size(), log.books.tally);
    json!({
        "origin": origin.as_str(), "intact": true, "first": log.first, "records": size - log.first, "size": size,
        "segments": log.segments, "inherited": tally.inherited,
        "received": tally.received, "completed": tally.completed, "interrupted": tally.interrupted,
        "open": log.books.open.len(), "refused": tally.refused, "gaps": tally.gaps, "unfinished": log.tail == Tail::Unfinished,
        "key": key.as_ref().map(ToString::to_string), "signed": signed, "checkpoints": checkpoints, "anchored": anchored,
        "root": verify::shown(&log.tree.root()),
    })
}

fn print(records: &[Vec<u8>], json: bool, out: &mut dyn Write) -> io::Result<()> {
    for record in records {
        if json {
            out.write_all(record)?;
            out.write_all(b"\n")?;
        } else {
            writeln!(out, "{}", line(&parsed(record)))?;
        }
    }
    out.flush()
}

fn parsed(record: &[u8]) -> Value {
    serde_json::from_slice(record).unwrap_or_default()
}

/// One record for people: time, type, verdict, status, model, target, tokens, milliseconds, id; `-` for what it lacks.
fn line(record: &Value) -> String {
    let time = field(record, "time");
    let seconds = time.get(..23).unwrap_or(&time);
    let kind = field(record, "type");
    let what = match kind.strip_prefix("llm.request.").unwrap_or(&kind) {
        "audit.gap" => format!("audit.gap {} lost: {}", field(record, "count"), field(record, "reason")),
        other => other.to_string(),
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
    format!("{seconds}Z {what:<12} {verdict:<8} {status:>3} {model:<20} {target:<16} {tokens:>9} {took:>9} {id}")
}

/// A field as text. Control characters, which a caller may have put there, never reach the terminal.
fn field(record: &Value, name: &str) -> String {
    match record.get(name) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
